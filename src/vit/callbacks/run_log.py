"""The files a run writes while it goes: metrics.csv, timing.csv, TensorBoard events.

metrics.csv is append-only and holds no times, so that a resumed run's is equal, byte for byte, to
that of a run never killed: on resume it is cut back to what the checkpoint had seen.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS, TIMING = "metrics.csv", "timing.csv"


class RunLog(Logger):
    """Long-form CSV and TensorBoard in one folder, which is named when the ranks are up."""

    def __init__(self) -> None:
        super().__init__()
        self.folder: Path | None = None
        self._writer: SummaryWriter | None = None
        self._start = 0

    @property
    def name(self) -> str:
        """The run's name: its folder's parent."""
        return self.folder.parent.name if self.folder else ""

    @property
    def version(self) -> str:
        """The run's own folder."""
        return self.folder.name if self.folder else ""

    @property
    def save_dir(self) -> str | None:
        """The run folder."""
        return str(self.folder) if self.folder else None

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Lightning's own route; `record` is ours."""
        self.record(metrics, step or 0, -1)

    @rank_zero_only
    def record(self, metrics: dict[str, float], step: int, epoch: int) -> None:
        """Append one row per value."""
        self._append(
            METRICS,
            "step,epoch,name,value",
            [f"{step},{epoch},{name},{float(value)!r}" for name, value in metrics.items()],
        )
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    @rank_zero_only
    def record_time(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """How fast it went; apart from the metrics, which a resumed run must repeat exactly."""
        rows = [f"{step},{epoch},{name},{value:.6g}" for name, value in values.items()]
        self._append(TIMING, "step,epoch,name,value", rows)
        for name, value in values.items():
            self.writer.add_scalar(f"speed/{name}", value, step)

    @rank_zero_only
    def picture(self, name: str, images: Tensor, step: int) -> None:
        """A picture, C H W in [0, 1], for TensorBoard."""
        self.writer.add_image(name, images, step)

    def _append(self, file: str, header: str, rows: list[str]) -> None:
        path = self.folder / file
        with path.open("a") as out:
            if out.tell() == 0:
                out.write(header + "\n")
            out.writelines(row + "\n" for row in rows)

    @property
    def writer(self) -> "SummaryWriter":
        """TensorBoard's; on resume it hides what was written after the checkpoint."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # after the first steps, not before

            purge = self._start + 1 if self._start else None
            self._writer = SummaryWriter(str(self.folder), purge_step=purge)
        return self._writer

    def size(self) -> int:
        """How many bytes metrics.csv has."""
        path = self.folder / METRICS
        return path.stat().st_size if path.exists() else 0

    @rank_zero_only
    def go_back(self, size: int, step: int) -> None:
        """Forget what was written after a checkpoint.

        Raises:
            ValueError: less is there than the checkpoint knew of.
        """
        path = self.folder / METRICS
        if self.size() < size:
            raise ValueError(
                f"--resume: {path} holds {self.size()} bytes, the checkpoint knew {size}; "
                "somebody cut it: put the whole file back, or begin a new run"
            )
        if path.exists():
            with path.open("rb+") as file:
                file.truncate(size)
        self._start = step

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what TensorBoard still holds."""
        if self._writer is not None:
            self._writer.flush()

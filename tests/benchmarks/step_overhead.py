"""What the Trainer, and what is ours in it, adds to a bare training step of the quick start.

    python tests/benchmarks/step_overhead.py [rounds]

Both arms do the same work on the same batches: draw the views, forward, backward, clip, AdamW, set
the learning rate. The bare loop does nothing else. Ours in the Trainer is timed hook by hook.
"""

import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from tempfile import mkdtemp

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.checkpoints import Checkpoints
from vit.callbacks.run import Plan, Run
from vit.callbacks.run_log import RunLog
from vit.cli.engine import CLI
from vit.lightning_seams import quieten
from vit.module import ViTModule

EPOCHS = 10  # of 20 steps, a round
HOOKS = (
    (ViTModule, "on_train_batch_start"), (ViTModule, "progress"), (Run, "on_train_batch_end"),
    (Run, "on_train_epoch_end"), (Checkpoints, "on_train_batch_end"),
)  # fmt: skip


def build() -> CLI:
    """The quick start, short, without validation and bar, in a scratch folder."""
    plan = Plan("fit", None, Path(mkdtemp()), 0, "benchmark")
    return CLI([
        "--config=configs/quickstart.yaml", f"--trainer.max_epochs={EPOCHS}",
        "--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ], plan, RunLog())  # fmt: skip


class Clock(Callback):
    """When training began and ended, without set-up and the last checkpoint."""

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        self.ended = time.perf_counter()


def bare(cli: CLI) -> float:
    """Seconds a step of a plain loop."""
    module, data = cli.model, cli.datamodule
    objective, spec = module.objective.train(), module.spec
    optimizer = cli.trainer.optimizers[0]
    loader, steps = data.train_dataloader(), 0
    started = time.perf_counter()
    for _ in range(EPOCHS):
        module.consumed = 0
        for batch in loader:
            shown = data.show(batch, objective.views, spec, training=True)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * module.schedule(0.5)
            optimizer.zero_grad()
            objective(shown, 0.5).loss.backward()
            module.clip(list(objective.parameters()))
            optimizer.step()
            steps += 1
    return (time.perf_counter() - started) / steps


def timed(spent: dict[str, float]) -> None:
    """Wrap our hooks so that each adds up its own seconds."""
    for family, name in HOOKS:
        honest = vars(family)[name]
        call = honest.fget if isinstance(honest, property) else honest

        def clocked(*args, _call=call, _key=f"{family.__name__}.{name}"):
            started = time.perf_counter()
            try:
                return _call(*args)
            finally:
                spent[_key] += time.perf_counter() - started

        setattr(family, name, property(clocked) if isinstance(honest, property) else clocked)


def main(rounds: int) -> None:
    """Print the medians and where our share goes."""
    torch.set_num_threads(1)
    quieten()
    spent: dict[str, float] = defaultdict(float)
    timed(spent)
    loops, trainers, steps = [], [], 0
    for number in range(rounds + 1):  # the first warms up
        cli, clock = build(), Clock()
        cli.trainer.callbacks.append(clock)
        cli.trainer.fit(cli.model, cli.datamodule)
        if number == 0:
            spent.clear()
            continue
        steps += cli.trainer.global_step
        trainers.append((clock.ended - clock.started) / cli.trainer.global_step)
        loops.append(bare(cli))
    ratios = [a / b for a, b in zip(trainers, loops, strict=True)]
    print(
        f"bare loop {1e3 * statistics.median(loops):.2f} ms a step, "
        f"Trainer {1e3 * statistics.median(trainers):.2f} ms, "
        f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )
    for key, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  ours, {key:<38} {1e3 * seconds / steps:.3f} ms a step")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

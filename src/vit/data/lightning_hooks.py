"""What Lightning calls of a data module: the only place of data that knows a Trainer."""

from abc import abstractmethod
from typing import Any

from lightning.pytorch import LightningDataModule

from vit.batch import Batch, LoaderContext
from vit.data.content import Relabelling, contents_of, refuse_changes
from vit.data.sampling import ResumableLoader


class LightningHooks(LightningDataModule):
    """Each hook hands what the module in training says to a method that knows no Trainer."""

    relabelling: Relabelling | None = None  # where a head that is tested counts classes otherwise
    others: tuple[str, ...] = ()  # further test sets, which `test` reports beside its own

    @abstractmethod
    def loader(self, split: str, context: LoaderContext | None = None) -> ResumableLoader:
        """Batches of a split: of `train` to learn from, of any other to be evaluated on."""

    @abstractmethod
    def evaluation_loader(
        self, split: str, context: LoaderContext | None = None, most: int | None = None
    ) -> ResumableLoader:
        """Every sample of any split exactly once over all ranks, never augmented."""

    @abstractmethod
    def show(self, batch: Batch, context: LoaderContext, training: bool) -> Batch:
        """Cut and normalise the views that an objective asks for."""

    def context(self) -> LoaderContext:
        """What the module in training hands over."""
        return self.trainer.lightning_module.loader_context()

    def train_dataloader(self) -> ResumableLoader:
        """The training split."""
        return self.loader("train", self.context())

    def val_dataloader(self) -> ResumableLoader:
        """The validation split."""
        return self.loader("val", self.context())

    def test_dataloader(self) -> ResumableLoader | list[ResumableLoader]:
        """The test split, which no choice may read, and the test sets of `others` after it."""
        loaders = [self.loader(split, self.context()) for split in ("test", *self.others)]
        return loaders if self.others else loaders[0]

    def predict_dataloader(self) -> ResumableLoader:
        """The test split."""
        return self.evaluation_loader("test", self.context())

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """uint8 images to normalised views, on the device."""
        batch = self.relabelling(batch) if self.relabelling else batch
        return self.show(batch, self.context(), self.trainer.training)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data."""
        return contents_of(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Refuse to go on with a training on other data; whatever is tested may be other."""
        if self.trainer is None or self.trainer.state.fn == "fit":
            refuse_changes(state, contents_of(self))

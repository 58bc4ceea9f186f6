"""What every data module shares: splits, exact loaders, views on the device, batch arithmetic.

B batch, C channels, H W pixels.
"""

import hashlib
from abc import abstractmethod
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import Dataset

from vit.batch import Batch, DataSpec, ViewSpec
from vit.data.content import Relabelling, content_of, refuse_changes
from vit.data.in_memory import InMemory
from vit.data.normalisation import normalise
from vit.data.sampling import EvaluationBatches, ResumableLoader, TrainingBatches
from vit.data.splits import few
from vit.data.transforms import Augmentation, cut_view, resize
from vit.data.views import named, several
from vit.orphans import end_with_parent

BOUNDS = {
    "batch_size": (1, 2**24), "eval_batch_size": (1, 2**24), "repeats": (1, 1000),
    "workers": (0, 256), "image_size": (1, 2**14),
}  # fmt: skip
Split = str  # train, val, test, or one of a data module's `others`


class Images(LightningDataModule):
    """Loaders over three splits. A subclass sets `self.spec` in __init__ and opens splits.

    Args:
        batch_size: images of one optimiser step, over all ranks and accumulated micro-batches.
        eval_batch_size: images of an evaluation step on each rank.
        workers: processes that load; 0 for data in memory.
        augmentation: geometric changes of training images.
        image_size: pixels of the square that training and evaluation show; null: the data's own.
        labels_per_class: train on so many images of each class only; validation and test stay
            whole. null: all.
        label_draw: which of them; draws do not depend on the run's seed.
        balanced: training draws every class equally often, whatever its size, with replacement.
        repeats: each training image so many times in a row, each time augmented anew, and so many
            times fewer different images an epoch (repeated augmentation; DeiT: 3).
    """

    spec: DataSpec
    relabelling: Relabelling | None = None  # where a head that is tested counts classes otherwise
    others: tuple[str, ...] = ()  # further test sets, which `test` reports beside its own
    notes: tuple[str, ...] = ()  # what a person should know before the start, in lines

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        workers: int = 0,
        augmentation: Augmentation | None = None,
        image_size: int | None = None,
        labels_per_class: int | None = None,
        label_draw: int = 0,
        balanced: bool = False,
        repeats: int = 1,
    ) -> None:
        super().__init__()
        given = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "repeats": repeats,
                 "workers": workers, "image_size": image_size}  # fmt: skip
        for name, value in given.items():
            least, most = BOUNDS[name]
            if value is not None and not least <= value <= most:
                raise ValueError(
                    f"{type(self).__name__}: {name} must be from {least} to {most:,}, got {value}"
                )
        self.batch_size, self.eval_batch_size, self.workers = batch_size, eval_batch_size, workers
        self.augmentation = augmentation or Augmentation()
        self.image_size = image_size
        self.labels_per_class, self.label_draw = labels_per_class, label_draw
        self.balanced, self.repeats = balanced, repeats
        self._contents: dict[Split, str | None] = {}

    @abstractmethod
    def open(self, split: Split) -> Dataset:
        """The samples of a split; indexed by a Draw, they give a Batch of uint8 images."""

    @abstractmethod
    def split_indices(self) -> dict[str, list[int]]:
        """Where each split's samples stand in the source; fixed by the data, not by a seed."""

    def names(self, split: Split) -> list[str] | None:
        """Files of a split's samples, in its order; None where they are no files."""
        return None

    def groups(self, split: Split) -> list[str] | None:
        """What each sample belongs to (a patient, an animal), where some belong together."""
        return None

    def few(self, indices: list[int], labels: list[int]) -> list[int]:
        """The training split, or what `labels_per_class` leaves of it.

        Args:
            indices: the whole training split, as numbers into the source.
            labels: of the whole source.
        """
        if self.labels_per_class is None:
            return indices
        return few(indices, labels, self.labels_per_class, self.label_draw)

    def split_hash(self, split: Split) -> str:
        """Twelve hexadecimal digits that change with the split's samples or their order."""
        return hashlib.sha256(repr(self.split_indices()[split]).encode()).hexdigest()[:12]

    def content(self, split: Split) -> str | None:
        """Changes with a split's labels, class names and pictures; None where it is not there."""
        if split not in self._contents:
            try:
                found = content_of(self.open(split), self.spec.classes)
            except FileNotFoundError:  # a training needs no test images
                found = None
            self._contents[split] = found
        return self._contents[split]

    def per_device(self) -> int:
        """Images of one micro-batch of one rank: batch_size / (ranks x accumulation)."""
        ranks, accumulate = self.trainer.world_size, self.trainer.accumulate_grad_batches
        if self.batch_size % (ranks * accumulate):
            raise ValueError(
                f"data: batch_size {self.batch_size} does not divide into {ranks} ranks x "
                f"{accumulate} accumulated micro-batches"
            )
        objective = self.trainer.lightning_module.objective
        if accumulate > 1 and objective.whole_step:
            raise ValueError(
                f"trainer: {type(objective).__name__} compares all images of a step, which "
                "accumulate_grad_batches would divide; set it to 1 and lower data.batch_size"
            )
        return self.batch_size // (ranks * accumulate)

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled, seekable, the same images a step on any number of ranks."""
        module, trainer = self.trainer.lightning_module, self.trainer
        dataset = self._open("train", module.objective.views, training=True)
        if len(dataset) < self.batch_size:
            raise ValueError(
                f"data: batch_size {self.batch_size} is larger than the training split "
                f"({len(dataset)} images)"
            )
        batches = TrainingBatches(
            len(dataset),
            self.per_device(),
            trainer.accumulate_grad_batches,
            module.seed,
            trainer.global_rank,
            trainer.world_size,
            lambda: module.consumed,
            trainer.limit_train_batches,
            self.weighed(dataset) if self.balanced else None,
            self.repeats,
        )
        if batches.length % trainer.accumulate_grad_batches:
            raise ValueError(
                f"trainer: limit_train_batches {trainer.limit_train_batches} leaves "
                f"{batches.length} micro-batches, no multiple of accumulate_grad_batches "
                f"{trainer.accumulate_grad_batches}, so an epoch would end inside a step"
            )
        return self._loader(dataset, batches)

    def weighed(self, dataset: Dataset) -> Tensor:
        """The labels that balanced training draws by."""
        if self.spec.multi_label or (dataset.labels < 0).any():
            raise ValueError("data: balanced wants exactly one label of every training image")
        return dataset.labels.cpu()

    def evaluation_loader(
        self, split: Split, views: tuple[ViewSpec, ...] = (ViewSpec(),), most: int | None = None
    ) -> ResumableLoader:
        """Every sample of a split exactly once over all ranks; as `show` will show these views.

        Of a split with more than `most` samples only so many, evenly spread.
        """
        dataset, trainer = self._open(split, views, training=False), self.trainer
        batches = EvaluationBatches(
            len(dataset), self.eval_batch_size, trainer.global_rank, trainer.world_size, most
        )
        return self._loader(dataset, batches)

    def val_dataloader(self) -> ResumableLoader:
        """The validation split."""
        return self.judged("val")

    def test_dataloader(self) -> ResumableLoader | list[ResumableLoader]:
        """The test split, which no choice may read, and the test sets of `others` after it."""
        loaders = [self.judged(split) for split in ("test", *self.others)]
        return loaders if self.others else loaders[0]

    def predict_dataloader(self) -> ResumableLoader:
        """The test split."""
        return self.evaluation_loader("test", self.trainer.lightning_module.objective.views)

    def _open(self, split: Split, views: tuple[ViewSpec, ...], training: bool) -> Dataset:
        dataset = self.open(split)
        objective = self.trainer.lightning_module.objective
        dataset.seed = self.trainer.lightning_module.seed
        if training and objective.uses_labels and (dataset.labels < 0).any():
            count = int((dataset.labels < 0).sum())
            raise ValueError(
                f"data: {count} training images have no label, and {type(objective).__name__} "
                "learns from labels; label them, or choose a self-supervised objective"
            )
        if isinstance(dataset, InMemory) and not self.workers:
            dataset.to(self.trainer.lightning_module.device)
        return dataset

    def judged(self, split: Split) -> ResumableLoader:
        """What an objective is judged on; images without a label count nowhere, which is told.

        Raises:
            ValueError: labels are asked for, and no image has one.
        """
        objective = self.trainer.lightning_module.objective
        loader = self.evaluation_loader(split, objective.views)
        labels = loader.dataset.labels
        missing = int((labels < 0).sum()) if objective.uses_labels else 0
        if missing == len(labels):
            raise ValueError(f"data: no {split} image has a label, so nothing can be judged on it")
        if missing:
            print(f"data: {missing} of {len(labels)} {split} images have no label; not counted")
        return loader

    def _loader(self, dataset: Dataset, batches: Any) -> ResumableLoader:
        on_device = isinstance(dataset, InMemory) and dataset.images.is_cuda
        # batch_size=None: the dataset itself makes the batch; nothing is collated sample by sample
        return ResumableLoader(
            dataset,
            sampler=batches,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            worker_init_fn=end_with_parent,
            pin_memory=torch.cuda.is_available() and not on_device,
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """uint8 images to normalised views, on the device."""
        module = self.trainer.lightning_module
        batch = self.relabelling(batch) if self.relabelling else batch
        return self.show(batch, module.objective.views, module.spec, self.trainer.training)

    def show(
        self, batch: Batch, views: tuple[ViewSpec, ...], spec: DataSpec, training: bool
    ) -> Batch:
        """Cut and normalise the views that an objective asks for.

        Evaluation shows each image whole and once, except to objectives that compare several
        views: they get theirs, drawn from the image alone, the same in every evaluation.

        Args:
            batch: uint8 images as loaders emit them, on the device.
            views: what to cut.
            spec: whose normalisation is used: the data's, or that of pre-trained weights.
            training: draw augmentations.
        """
        if training or several(views):
            images = [
                self.cut(batch, place, view, f"view {name}")
                for place, (name, view) in enumerate(named(views))
            ]
        else:
            size = tuple(self.spec.image_size)
            fits = tuple(batch.images.shape[-2:]) == size
            images = [batch.images if fits else resize(batch.images.float() / 255, size)]
        normalised = [normalise(image, spec) for image in images]
        if training and (erasing := self.augmentation.erasing):
            normalised = [
                erasing(image, batch.keys(f"erasing {name}")) if view.resample else image
                for image, (name, view) in zip(normalised, named(views), strict=True)
            ]
        return replace(batch, views=normalised)

    def cut(self, batch: Batch, place: int, view: ViewSpec, purpose: str) -> Tensor:
        """One view of each image, drawn for this purpose; `place` counts the views."""
        key = batch.keys(purpose)
        return cut_view(batch.images, key, view, self.augmentation, self.spec.image_size)

    def state_dict(self) -> dict[str, Any]:
        """What was learned from, chosen on and is tested on, so that it can be told apart."""
        content = {split: self.content(split) for split in ("train", "val", "test")}
        return {"classes": list(self.spec.classes), "content": content,
                "val": torch.tensor(self.split_indices()["val"])}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Refuse to go on with a training on other data; whatever is tested may be other."""
        if self.trainer is not None and self.trainer.state.fn != "fit":
            return
        refuse_changes(state, self.state_dict())

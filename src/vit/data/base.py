"""What every data module shares: splits, exact loaders, views on the device, batch arithmetic.

B batch, C channels, H W pixels.
"""

import copy
import hashlib
from abc import abstractmethod
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vit.batch import Batch, DataSpec, LoaderContext, ViewSpec
from vit.data.content import content_of
from vit.data.in_memory import InMemory
from vit.data.lightning_hooks import LightningHooks
from vit.data.multi_crop import compares_views, cut_views, named_views
from vit.data.normalisation import normalise
from vit.data.partly_labelled import PartlyLabelledBatches, partly_labelled
from vit.data.sampling import EvaluationBatches, ResumableLoader, TrainingBatches
from vit.data.shuffled_labels import shuffle_labels
from vit.data.splits import few, labels_to_balance
from vit.data.transforms import Augmentation, cut_view, resize
from vit.orphans import answer_to_parent_alone

BOUNDS = {
    "batch_size": (1, 2**24),
    "eval_batch_size": (1, 2**24),
    "workers": (0, 256),
    "image_size": (1, 2**14),
    "repeats": (1, 1000),
    "val_draw": (0, 2**31 - 1),
}
Split = str  # train, val, test, or one of a data module's `others`


class Images(LightningHooks):
    """Loaders over three splits. A subclass sets `self.spec` in __init__ and opens splits.

    Args:
        batch_size: images of one optimiser step, over all ranks and accumulated micro-batches.
        eval_batch_size: images of an evaluation step on each rank.
        workers: processes that load; 0 for data in memory.
        augmentation: geometric changes of training images.
        image_size: pixels of the square that training and evaluation show; null: the data's own.
        labels_per_class: train on so many images of each class; evaluation sees all. null: all.
        label_draw: which of them; draws do not depend on the run's seed.
        val_draw: which training images become validation, where nobody gave which; no draw moves
            the test split.
        balanced: training draws every class equally often, whatever its size, with replacement;
            where_uneven: only where the largest class is over 1.5 times the smallest.
        repeats: each training image so many times in a row, each time augmented anew, and so many
            times fewer different images an epoch (repeated augmentation; DeiT: 3).
        shuffled_labels: a control: training labels permuted among their own images, always alike.
    """

    spec: DataSpec
    notes: tuple[str, ...] = ()  # what a person should know before the start, in lines
    redraws: bool = False  # does val_draw choose the validation images?

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        workers: int = 0,
        augmentation: Augmentation | None = None,
        image_size: int | None = None,
        labels_per_class: int | None = None,
        label_draw: int = 0,
        val_draw: int = 0,
        balanced: bool | Literal["where_uneven"] = False,
        repeats: int = 1,
        shuffled_labels: bool = False,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.workers = workers
        self.augmentation = augmentation or Augmentation()
        self.image_size = image_size
        self.labels_per_class = labels_per_class
        self.label_draw = label_draw
        self.val_draw = val_draw
        self.balanced = balanced
        self.repeats = repeats
        self.shuffled_labels = shuffled_labels
        self._contents: dict[tuple[Split, bool], str | None] = {}
        for name, (least, most) in BOUNDS.items():
            value = vars(self)[name]
            if value is not None and not least <= value <= most:
                raise ValueError(
                    f"{type(self).__name__}: {name} must be from {least} to {most:,}, got {value}"
                )
        self.check_val_draw()

    def check_val_draw(self) -> None:
        """Refuse to draw validation images that somebody else chose."""
        if self.val_draw and not self.redraws:
            name, got = type(self).__name__, self.val_draw
            raise ValueError(f"{name}: val_draw must be 0, as validation is given, got {got}")

    @abstractmethod
    def open(self, split: Split) -> Dataset:
        """The samples of a split; indexed by BatchIndices, they give a Batch of uint8 images."""

    @abstractmethod
    def split_indices(self) -> dict[str, list[int]]:
        """Where each split's samples stand in the source; fixed by the data, not by a seed."""

    def samples(self, split: Split) -> Dataset:
        """What is learned from and evaluated on: `open`, its training labels shuffled if asked."""
        shuffled = self.shuffled_labels and split == "train"
        return shuffle_labels(self.open(split)) if shuffled else self.open(split)

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

    def redrawn(self, draw: int) -> "Images":
        """The same data with other validation images; splits may differ in size by a few."""
        other = copy.copy(self)
        other.val_draw, other._contents = draw, {}
        other.check_val_draw()
        counts = {split: len(places) for split, places in other.split_indices().items()}
        other.spec = replace(self.spec, counts=counts)
        return other

    def split_hash(self, split: Split) -> str:
        """Twelve hexadecimal digits that change with the split's samples or their order."""
        return hashlib.sha256(repr(self.split_indices()[split]).encode()).hexdigest()[:12]

    def content(self, split: Split, unopened: bool = False) -> str | None:
        """Changes with a split's labels, class names and pictures; None where it is not there."""
        key = split, unopened
        if key not in self._contents:
            try:
                self._contents[key] = content_of(self.samples(split), self.spec.classes, unopened)
            except FileNotFoundError:  # a training needs no test images
                self._contents[key] = None
        return self._contents[key]

    # ---- loaders, from what they are handed -----------------------------------------------------

    def per_device(self, context: LoaderContext) -> int:
        """Images of one micro-batch of one rank: batch_size / (ranks x accumulation)."""
        ranks, accumulation = context.world_size, context.accumulation
        if self.batch_size % (ranks * accumulation):
            raise ValueError(
                f"data: batch_size {self.batch_size} does not divide into {ranks} ranks x "
                f"{accumulation} accumulated micro-batches"
            )
        return self.batch_size // (ranks * accumulation)

    def loader(self, split: Split, context: LoaderContext | None = None) -> ResumableLoader:
        """Batches of a split: of `train` to learn from, of any other to be evaluated on.

        Images of a batch are uint8 and as the source has them; `show` makes the views.

        Args:
            split: train, val, test, or one of `others`.
            context: what the run around it says; None: one process, each image whole.
        """
        context = context or LoaderContext()
        if split == "train":
            return self._training_loader(context)
        loader = self.evaluation_loader(split, context)
        labels = loader.dataset.labels
        missing = int((labels < 0).sum()) if context.needs_labels else 0
        if missing == len(labels):
            raise ValueError(
                f"data: no {split} image has a label, so nothing can be evaluated on it; label "
                "some, or choose a self-supervised objective"
            )
        if missing:
            print(f"data: {missing} of {len(labels)} {split} images have no label; not counted")
        return loader

    def evaluation_loader(
        self, split: Split, context: LoaderContext | None = None, most: int | None = None
    ) -> ResumableLoader:
        """Every sample of any split exactly once over all ranks, never augmented.

        Of a split with more than `most` samples only so many, evenly spread.
        """
        context = context or LoaderContext()
        dataset = self.dataset(split, context, training=False)
        batches = EvaluationBatches(len(dataset), self.eval_batch_size, context, most)
        return self._loader(dataset, batches)

    def _training_loader(self, context: LoaderContext) -> ResumableLoader:
        """Shuffled, seekable, the same images a step on any number of ranks."""
        dataset = self.dataset("train", context, training=True)
        if len(dataset) < self.batch_size:
            raise ValueError(
                f"data: batch_size {self.batch_size} is larger than the training split "
                f"({len(dataset)} images)"
            )
        per_device = self.per_device(context)
        if context.unlabelled:
            batches = PartlyLabelledBatches(dataset.labels, per_device, context)
            batches.refuse(balanced=self.balanced is True, repeats=self.repeats > 1)
        else:
            labels = labels_to_balance(dataset.labels, self.balanced, self.spec.multi_label)
            batches = TrainingBatches(len(dataset), per_device, context, labels, self.repeats)
        if batches.length % context.accumulation:
            raise ValueError(
                f"trainer: limit_train_batches {context.limit} leaves {batches.length} "
                "micro-batches, no multiple of accumulate_grad_batches "
                f"{context.accumulation}, so an epoch would end inside a step"
            )
        return self._loader(dataset, batches)

    def dataset(self, split: Split, context: LoaderContext, training: bool) -> Dataset:
        """The samples of a split, ready to be read in this run.

        Args:
            split: which samples.
            context: its seed goes into each batch; data in memory moves to its device.
            training: augmentation may begin in the workers.
        """
        partly = training and context.unlabelled > 0
        dataset = partly_labelled(self) if partly else self.samples(split)
        dataset.seed = context.seed
        if training and context.needs_labels and not partly and (dataset.labels < 0).any():
            count = int((dataset.labels < 0).sum())
            raise ValueError(
                f"data: {count} training images have no label, and the objective learns from "
                "labels; label them, or choose a self-supervised objective"
            )
        if isinstance(dataset, InMemory) and not self.workers:
            dataset.to(context.device)
        return dataset

    def _loader(self, dataset: Dataset, batches: Any) -> ResumableLoader:
        on_device = isinstance(dataset, InMemory) and dataset.images.is_cuda
        # batch_size=None: the dataset itself makes the batch; nothing is collated sample by sample
        return ResumableLoader(
            dataset,
            sampler=batches,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            worker_init_fn=answer_to_parent_alone,
            pin_memory=torch.cuda.is_available() and not on_device,
        )

    def preprocessing(self) -> dict[str, Any]:
        """Settings of `Preprocessing` beside the spec, in plain values: checkpoints keep them."""
        return {}

    # ---- views, cut and normalised on the device ------------------------------------------------

    def show(self, batch: Batch, context: LoaderContext, training: bool) -> Batch:
        """Cut and normalise the views that an objective asks for.

        Evaluation shows each image whole and once, except to objectives that compare several
        views: they get theirs, drawn from the image alone, the same in every evaluation.

        Args:
            batch: uint8 images as loaders emit them, on the device.
            context: its views are cut, its normalisation is used.
            training: draw augmentations.
        """
        views = context.views
        if training or compares_views(views):
            images = cut_views(batch, views, self.cut)
        else:
            size = tuple(self.spec.image_size)
            fits = tuple(batch.images.shape[-2:]) == size
            images = [batch.images if fits else resize(batch.images.float() / 255, size)]
        normalised = [normalise(image, context.normalisation or self.spec) for image in images]
        if training and (erasing := self.augmentation.erasing):
            normalised = [
                erasing(image, batch.keys(f"erasing {name}")) if view.resample else image
                for image, (name, view) in zip(normalised, named_views(views), strict=True)
            ]
        return replace(batch, views=normalised)

    def cut(self, batch: Batch, number: int, view: ViewSpec, purpose: str) -> Tensor:
        """One view of each image, drawn for this purpose; `number` counts the views."""
        key = batch.keys(purpose)
        return cut_view(batch.images, key, view, self.augmentation, self.spec.image_size)

"""All that data and training know of each other: a data set, a view, a batch.

B batch, C channels, h w the pixels of one view.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from vit.randomness import keys


@dataclass(frozen=True)
class DataSpec:
    """A data set in plain values, known before any download.

    Args:
        classes: class names; a label is an index into them. Empty for unlabelled images.
        image_size: height and width in pixels that evaluation shows.
        channels: 1 grey, 3 RGB, more for multi-spectral images.
        mean: per channel, of pixels scaled to [0, 1].
        std: per channel, of pixels scaled to [0, 1].
        multi_label: an image may carry several classes.
        counts: images per split.
    """

    classes: tuple[str, ...]
    image_size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    multi_label: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.std, *self.image_size, self.channels)
        sound = all(isinstance(x, int | float) and math.isfinite(x) for x in numbers)
        if not sound or min(*self.std, *self.image_size, self.channels) <= 0:
            raise ValueError(
                "DataSpec: sizes and deviations are numbers above 0, means are numbers, got "
                f"{self.image_size}, {self.std} and {self.mean}"
            )
        if not all(isinstance(name, str) for name in self.classes):
            raise ValueError(f"DataSpec: classes are names, got {self.classes}")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"DataSpec: {self.channels} channels need as many means and deviations, "
                f"got {len(self.mean)} and {len(self.std)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Lists, numbers and strings only, so that a checkpoint opens with weights_only=True."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DataSpec":
        """The inverse of `to_dict`."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class ViewSpec:
    """What an objective wants to see of each image; the data module executes it.

    Args:
        count: how many such views.
        size: height and width in pixels of a square view; None: the data's own size.
        area: smallest and largest fraction of the image that a random crop covers;
            None: the whole image, moved by the data's own augmentation.
        photometric: strength of brightness, contrast and saturation changes, 0 none to 1.
        blur: fraction of the images that are blurred, by up to 2 pixels: for photographs.
        solarise: fraction of the images whose bright half is inverted.
        resample: False: the data's augmentation only shifts by whole pixels and flips, for
            objectives whose targets are pixels; rotation and scaling would blend them.
    """

    count: int = 1
    size: int | None = None
    area: tuple[float, float] | None = None
    photometric: float = 0.0
    resample: bool = True
    blur: float = 0.0
    solarise: float = 0.0

    @property
    def recolours(self) -> bool:
        """Does it change colours?"""
        return bool(self.photometric or self.blur or self.solarise)


def no_batches() -> int:
    """The default of `consumed`: no micro-batch yet."""
    return 0


@dataclass(frozen=True)
class LoaderContext:
    """All that loaders need to know of the run around them; the defaults are one process, alone.

    Args:
        views: what the objective asks for.
        seed: the run's.
        consumed: asked when an epoch begins: micro-batches of this rank trained on so far.
        rank: number of this process.
        world_size: processes that share the work.
        accumulation: micro-batches of an optimiser step.
        device: where data in memory lives and views are cut.
        normalisation: whose mean and deviation are used; None: the data's own.
        needs_labels: the objective learns from labels and is evaluated by them.
        unlabelled: fraction of each training micro-batch that needs no label, its last rows: they
            are drawn from all training images, the first ones from those with a label.
        limit: micro-batches of an epoch (int) or the fraction of them (float), as Lightning's
            limit_train_batches.
    """

    views: tuple[ViewSpec, ...] = (ViewSpec(),)
    seed: int = 0
    consumed: Callable[[], int] = no_batches
    rank: int = 0
    world_size: int = 1
    accumulation: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  a constant
    normalisation: DataSpec | None = None
    needs_labels: bool = False
    unlabelled: float = 0.0
    limit: int | float = 1.0

    def whole_images(self) -> "LoaderContext":
        """The same for whoever looks at each image once, whatever the objective asks for."""
        return replace(self, views=(ViewSpec(),))


@dataclass
class Batch:
    """One step's images: uint8 as loaders emit them, normalised float views after `show`.

    Args:
        views: list of B C h w; uint8 as loaders emit them, float and normalised on the device.
        labels: B, index into the classes; -1 unlabelled.
        index: B, the sample's number in its split; -1 is padding and counts nowhere.
        seed: the run's.
        epoch: which pass over the training split; None in evaluation, whose draws never change.
        unread: files of it that could not be read: names and why.
        accepted: B L, every label that is right, where an image may have several: in multi-label
            data, and where later annotators looked again (none for images they left out).
        repeat: B, how often each image came before in this epoch; None: never.
    """

    views: list[Float[Tensor, "B C _h _w"] | UInt8[Tensor, "B C _h _w"]]
    labels: Int[Tensor, " B"]
    index: Int[Tensor, " B"]
    seed: int = 0
    epoch: int | None = None
    unread: tuple[tuple[str, str], ...] = ()
    accepted: Bool[Tensor, "B _L"] | None = None
    repeat: Int[Tensor, " B"] | None = None

    @property
    def images(self) -> Tensor:
        """The first view, B C h w."""
        return self.views[0]

    @property
    def valid(self) -> Bool[Tensor, " B"]:
        """False where a row only pads the batch."""
        return self.index >= 0

    def keys(self, purpose: str) -> Int[Tensor, " B"]:
        """One random key per image: the same on any rank, in any batch, in any process."""
        return keys(self.seed, self.epoch, numbered(self.index, self.repeat), purpose)

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Page-locked copies, for DataLoader(pin_memory=True)."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        views = [change(view) for view in self.views]
        accepted, repeat = (
            None if tensor is None else change(tensor) for tensor in (self.accepted, self.repeat)
        )
        return replace(
            self,
            views=views,
            labels=change(self.labels),
            index=change(self.index),
            accepted=accepted,
            repeat=repeat,
        )


def numbered(index: Int[Tensor, " B"], repeat: Int[Tensor, " B"] | None) -> Int[Tensor, " B"]:
    """What draws are keyed by: an image that comes again in an epoch is drawn anew."""
    return index if repeat is None else index + repeat * 2**40


def labelled_rows(count: int, unlabelled: float) -> int:
    """How many of a training micro-batch's rows come with a label, its first ones: at least one.

    Args:
        count: rows.
        unlabelled: fraction that needs none; above 0 it is at least one row.
    """
    rows = max(round(count * (1 - unlabelled)), 1)
    return min(rows, count - 1) if unlabelled else rows


def dummy_batch(spec: DataSpec, views: tuple[ViewSpec, ...], count: int) -> Batch:
    """A training batch of the right shapes with nothing to see, for counting and timing."""
    sizes = [(v.size, v.size) if v.size else spec.image_size for v in views for _ in range(v.count)]
    images = [torch.zeros(count, spec.channels, *size) for size in sizes]
    index, classes = torch.arange(count), max(len(spec.classes), 1)
    accepted = torch.zeros(count, classes, dtype=torch.bool) if spec.multi_label else None
    return Batch(images, index % classes, index, epoch=0, accepted=accepted)

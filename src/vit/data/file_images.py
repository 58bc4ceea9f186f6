"""What data sets share whose images are files: cut in workers, finished on the device."""

import os
import sys
from abc import abstractmethod
from dataclasses import replace
from hashlib import sha256
from typing import Any, Literal

import torch
from torch import Tensor

from vit.batch import Batch, DataSpec, LoaderContext, ViewSpec
from vit.data.base import Images, Split
from vit.data.crops import Cut, Interpolation, letterbox_colour
from vit.data.files import Files, Source
from vit.data.multi_crop import compares_views, named_views
from vit.data.transforms import cut_view


class FileImages(Images):
    """Loaders over image files. A subclass sets `self.spec` and lists its files.

    Args:
        image_size: pixels of the square that training and evaluation show; null: as large as the
            weights of model.pretrained are used to, but at most 224.
        center_crop_ratio: evaluation shows the middle square, so large a fraction of the short side
            (0.875 is the habit for ImageNet); null: the whole image, squeezed to a square, as the
            ViT paper.
        interpolation: bilinear, or bicubic as many published models want it.
        shrink: training may decode large JPEG files at half their size or less, where no crop
            loses a pixel by it; twice as fast on photographs. Evaluation never does.
        on_error: what a file does that cannot be read: raise ends the run, skip names it, shows
            another image in its place (in evaluation: none, it counts nowhere) and goes on.
        most_unread: fraction of a split that may be skipped before the run ends after all.
        letterbox: pictures and random crops of them keep their shape, in a square of the mean
            colour, instead of being squeezed; without center_crop_ratio.
        workers: processes that load; null: one less than there are cores, at most 8 a rank.
        loading: batch sizes, augmentation, few labels: see Images.
    """

    apply_exif_and_alpha = False  # a person's pictures: see decode

    def __init__(
        self,
        image_size: int | None = 224,
        center_crop_ratio: float | None = None,
        interpolation: Interpolation = "bilinear",
        shrink: bool = True,
        on_error: Literal["raise", "skip"] = "raise",
        most_unread: float = 0.01,
        workers: int | None = None,
        letterbox: bool = False,
        **loading: Any,
    ) -> None:
        workers = usual_workers() if workers is None else workers
        size = 224 if image_size is None else image_size
        super().__init__(image_size=size, workers=workers, **loading)
        name = type(self).__name__
        if center_crop_ratio is not None and not 0 < center_crop_ratio <= 1:
            raise ValueError(
                f"{name}: center_crop_ratio must be in (0, 1], got {center_crop_ratio}"
            )
        if letterbox and center_crop_ratio is not None:
            raise ValueError(
                f"{name}: letterbox shows the whole picture; leave center_crop_ratio out, "
                f"got {center_crop_ratio}"
            )
        if not 0 <= most_unread < 1:
            raise ValueError(f"{name}: most_unread must be in [0, 1), got {most_unread}")
        self.center_crop_ratio = center_crop_ratio
        self.interpolation = interpolation
        self.shrink = shrink
        self.on_error = on_error
        self.most_unread = most_unread
        self.letterbox = letterbox
        self.unread: dict[str, str] = {}

    @abstractmethod
    def files(self) -> tuple[Source, list[int]]:
        """Every file of all splits, and their labels; -1 unlabelled."""

    def open(self, split: Split) -> Files:
        """The samples of a split, shown whole."""
        source, labels = self.files()
        places = torch.tensor(self.split_indices()[split], dtype=torch.int64)
        return Files(source, places, torch.tensor(labels)[places], self.cuts((ViewSpec(),), False))

    def names(self, split: Split) -> list[str]:
        """Files of a split's samples, in its order."""
        source = self.files()[0]
        return [source.name(place) for place in self.split_indices()[split]]

    def cuts(
        self, views: tuple[ViewSpec, ...], training: bool, shown: DataSpec | None = None
    ) -> list[Cut]:
        """What workers cut of each image.

        Args:
            views: that the objective asks for.
            training: else each image is shown once, whole.
            shown: whose mean fills a letterbox; None: the data's own.
        """
        side = self.spec.image_size[0]
        fill = letterbox_colour((shown or self.spec).mean) if self.letterbox else None
        if not training and not compares_views(views):
            center = self.center_crop_ratio
            return [
                Cut(side, center_crop_ratio=center, interpolation=self.interpolation, fill=fill)
            ]
        return [
            Cut(
                size=view.size or side,
                area=view.area or self.augmentation.crop_area,
                purpose=f"crop {name}",
                center_crop_ratio=self.center_crop_ratio,
                interpolation=self.interpolation,
                crop_ratio=None if view.area else self.augmentation.crop_ratio,
                fill=fill,
            )
            for name, view in named_views(views)
        ]

    def dataset(self, split: Split, context: LoaderContext, training: bool) -> Files:
        """The samples of a split, with what workers cut of each image; see Images."""
        dataset = super().dataset(split, context, training)
        dataset.cuts = self.cuts(context.views, training, context.normalisation)
        dataset.apply_exif_and_alpha = self.apply_exif_and_alpha
        dataset.shrink = self.shrink and training
        dataset.replace = training and self.on_error == "skip"
        return dataset

    def preprocessing(self) -> dict[str, Any]:
        """How evaluation shows a file; see Images."""
        return {
            "center_crop_ratio": self.center_crop_ratio,
            "interpolation": self.interpolation,
            "apply_exif_and_alpha": self.apply_exif_and_alpha,
            "rounded": True,
            "letterbox": self.letterbox,
        }

    def show(self, batch: Batch, context: LoaderContext, training: bool) -> Batch:
        """What is left to do with views that workers cut; see Images."""
        self.note(batch.unread)
        return super().show(batch, context, training)

    def cut(self, batch: Batch, number: int, view: ViewSpec, purpose: str) -> Tensor:
        """The rest of one view: mirrored, moved, recoloured."""
        images = batch.views[number]
        rest = replace(self.augmentation, crop_area=None, crop_ratio=None)
        whole = replace(view, area=None, size=None)
        return cut_view(images, batch.keys(purpose), whole, rest, tuple(images.shape[-2:]))

    def note(self, unread: tuple[tuple[str, str], ...]) -> None:
        """Name each unreadable file once.

        Raises:
            ValueError: there shall be none, or there are too many.
        """
        for name, why in unread:
            if self.on_error == "raise":
                raise ValueError(
                    f"data: {name} {why}; repair or remove it, or set data.on_error to skip"
                )
            if name not in self.unread:
                self.unread[name] = why
                print(f"data: skipped {name}: {why}", file=sys.stderr)
        most = self.most_unread * sum(self.spec.counts.values())
        if len(self.unread) > max(most, 1):
            raise ValueError(
                f"data: {len(self.unread)} files cannot be read, more than data.most_unread "
                f"({self.most_unread:g}) allows; python train.py prepare --check lists all"
            )

    def split_hash(self, split: Split) -> str:
        """Twelve hexadecimal digits that change with the split's files, labels or their order."""
        source, labels = self.files()
        digest = sha256()
        for place in self.split_indices()[split]:
            digest.update(f"{source.name(place)} {labels[place]}\n".encode())
        return digest.hexdigest()[:12]


def usual_workers() -> int:
    """One less than there are cores for each rank on this machine, 1 to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(max((cores or 1) // ranks - 1, 1), 8)

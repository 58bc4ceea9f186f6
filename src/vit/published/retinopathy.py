"""Diabetic retinopathy: photographs of eyes, levelled as the published preparation does it."""

import csv
from functools import cached_property

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from vit.published.decode import decode
from vit.published.order import Key
from vit.published.raw import Raw, png, read_below, reading

RADIUS = 300  # of the eye, in pixels, once scaled
SHOWN = 270  # radius of the circle that is kept
BLUR = 10.0  # deviation of the local mean


class Retinopathy(Raw):
    """Diabetic retinopathy as published for VTAB: eyes scaled, levelled and cut to a circle.

    Test and validation are the rows that Kaggle's solution calls Private and Public.
    """

    instructions = (
        "get train.zip.00*, test.zip.00*, trainLabels.csv and retinopathy_solution.csv of Kaggle's "
        "competition diabetic-retinopathy-detection (its rules must be accepted) and unpack them "
        "there"
    )

    @cached_property
    def _rows(self) -> dict[str, dict[str, int]]:
        levels: dict[str, dict[str, int]] = {"train": {}, "validation": {}, "test": {}}
        path = self.need("trainLabels.csv")
        with reading(path, csv.Error), path.open(newline="") as file:
            levels["train"] = {row["image"]: int(row["level"]) for row in csv.DictReader(file)}
        path = self.need("retinopathy_solution.csv")
        with reading(path, csv.Error), path.open(newline="") as file:
            for row in csv.DictReader(file):
                split = "validation" if row["Usage"] == "Public" else "test"
                levels[split][row["image"]] = int(row["level"])
        return levels

    def keys(self, split: str) -> list[str]:
        return list(self._rows[split])

    def label(self, split: str, key: Key) -> int:
        return self._rows[split][str(key)]

    def image(self, split: str, key: Key) -> bytes:
        folder = "train" if split == "train" else "test"
        data = read_below(self.need(folder), f"{key}.jpeg")
        return png(levelled(decode(data)).permute(1, 2, 0).numpy())


def levelled(image: UInt8[Tensor, "3 _h _w"]) -> UInt8[Tensor, "3 _s _t"]:
    """An eye as btgraham-300 of TensorFlow Datasets, but for its JPEG (quality 72).

    The eye's radius, half of what is bright in the middle row, becomes 300 pixels; four times the
    difference from the local mean is left, about grey; outside a circle of 270 all is grey.
    """
    from scipy.ndimage import gaussian_filter  # slow to load, and only needed here

    row = image[:, image.shape[1] // 2].double().sum(0)
    radius = (row > row.mean() / 10).sum().item() / 2
    scale = RADIUS / (radius if radius >= 1 else image.shape[1] / 2)
    size = [round(side * scale) for side in image.shape[1:]]
    scaled = F.interpolate(image[None].float(), size, mode="bilinear").round()[0].numpy()
    mean = np.stack([gaussian_filter(p, BLUR, mode="mirror", truncate=3.0) for p in scaled]).round()
    sharp = (4 * scaled - 4 * mean + 128).clip(0, 255)
    middle, centre = (side // 2 for side in size)
    y, x = np.ogrid[: size[0], : size[1]]
    inside = (y - middle) ** 2 + (x - centre) ** 2 <= SHOWN**2
    eye = np.where(inside, sharp, 128).round().astype(np.uint8)
    top, left = max(middle - SHOWN, 0), max(centre - SHOWN, 0)
    bottom, right = min(middle + SHOWN, size[0] - 1), min(centre + SHOWN, size[1] - 1)
    return torch.from_numpy(np.ascontiguousarray(eye[:, top:bottom, left:right]))

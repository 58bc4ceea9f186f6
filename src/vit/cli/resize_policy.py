"""How pictures of any shape become squares, and what a middle square throws away.

H W pixels of a picture.
"""

from dataclasses import dataclass
from statistics import mean
from typing import Any

from vit.data.file_images import FileImages
from vit.published.decode import size_of

CROP = 0.875  # the middle square's side against the short side: the habit for ImageNet
MOST = 2000  # training pictures whose sizes are looked at, evenly spread


@dataclass(frozen=True)
class Policy:
    """One way.

    Args:
        name: squeeze (all of the picture, its shape lost), letterbox (all of it and its shape,
            smaller, with a margin) or crop (its middle).
        letterbox: data.letterbox.
        center_crop_ratio: data.center_crop_ratio.
    """

    name: str
    letterbox: bool = False
    center_crop_ratio: float | None = None

    @property
    def settings(self) -> list[str]:
        """The command line that asks for it."""
        letterbox, ratio = str(self.letterbox).lower(), self.center_crop_ratio or "null"
        return ["--data.letterbox", letterbox, "--data.center_crop_ratio", str(ratio)]


def policy_of(data: Any) -> Policy | None:
    """How a data module shows its pictures; None: they are no files, and of one size."""
    if not isinstance(data, FileImages):
        return None
    name = "letterbox" if data.letterbox else "crop" if data.center_crop_ratio else "squeeze"
    return Policy(name, data.letterbox, data.center_crop_ratio)


def other_policies(policy: Policy) -> list[Policy]:
    """The ways that are not this one."""
    ways = (Policy("squeeze"), Policy("letterbox", True), Policy("crop", False, CROP))
    return [way for way in ways if way.name != policy.name]


def sizes_of(data: FileImages) -> list[tuple[int, int]]:
    """H and W of training pictures that can be read."""
    dataset, sizes = data.open("train"), []
    count = min(len(dataset), MOST)
    for number in range(count):
        place = int(dataset.places[number * len(dataset) // count])
        try:
            sizes.append(size_of(dataset.source.read(place), data.apply_exif_and_alpha))
        except (ValueError, OSError):
            continue  # the fit says what is to be done about it
    return sizes


def discarded(sizes: list[tuple[int, int]], ratio: float = CROP) -> tuple[float, float]:
    """The fraction of a picture that its middle square leaves out: on average, and at most."""
    lost = [1 - (ratio * min(size)) ** 2 / (size[0] * size[1]) for size in sizes]
    return mean(lost), max(lost)

"""Data sets whose labels are worked out: CLEVR and KITTI.

Label rules: google-research/task_adaptation, task_adaptation/data, commit d7630d3; a label is the
number of the last edge that lies below the measured value.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from torchvision.datasets import CLEVRClassification

from vit.published.order import Key
from vit.published.raw import Raw, read_below, reading

NEAREST = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)  # CLEVR, in the units of its scenes
METRES = (-100.0, 8.0, 20.0, 999.0)  # KITTI
NO_VEHICLE = 1000.0
VEHICLES = ("Car", "Van", "Truck")


def bucket(value: float, edges: tuple[float, ...]) -> int:
    """The number of the last edge below a value; an edge itself belongs to what is before it."""
    return bisect_left(edges, float(np.float32(value))) - 1


class Clevr(Raw):
    """CLEVR 1.0, 480x320 renderings.

    Args:
        root: folder that holds CLEVR_v1.0.
        what: count, of objects; or distance, of the nearest.
    """

    instructions = (
        "get CLEVR_v1.0.zip (19,021,600,724 bytes, md5 b11922020e72d0cd9154779b2d3d07d2) from "
        "cs.stanford.edu/people/jcjohns/clevr and unpack it there"
    )
    archives = ((CLEVRClassification._URL, CLEVRClassification._MD5),)
    there = ("CLEVR_v1.0",)
    folders: ClassVar[dict[str, str]] = {"train": "train", "validation": "val"}

    def __init__(self, root: Path, what: str) -> None:
        super().__init__(root)
        self.what = what
        self.opened: dict[str, dict[str, int]] = {}

    def keys(self, split: str) -> list[str]:
        count = 70_000 if split == "train" else 15_000
        return [f"CLEVR_{self.folders[split]}_{i:06d}.png" for i in range(count)]

    def label(self, split: str, key: Key) -> int:
        if split not in self.opened:
            name = f"CLEVR_{self.folders[split]}_scenes.json"
            path = self.need(f"CLEVR_v1.0/scenes/{name}", f"scenes/{name}")
            with reading(path):
                scenes = json.loads(path.read_text())["scenes"]
                self.opened[split] = {
                    scene["image_filename"]: self._class_of(scene) for scene in scenes
                }
        return self.opened[split][key]

    def _class_of(self, scene: dict) -> int:
        if self.what == "count":
            return len(scene["objects"]) - 3
        return bucket(min(thing["pixel_coords"][2] for thing in scene["objects"]), NEAREST)

    def image(self, split: str, key: Key) -> bytes:
        folder = self.folders[split]
        return read_below(self.need(f"CLEVR_v1.0/images/{folder}", f"images/{folder}"), key)


class Kitti(Raw):
    """KITTI's object images, split by video: the distance of the nearest vehicle, in four steps."""

    instructions = (
        "get data_object_image_2.zip, data_object_label_2.zip and devkit_object.zip from "
        "cvlibs.net/datasets/kitti and unpack all three there"
    )

    @cached_property
    def _splits(self) -> dict[str, list[str]]:
        """Images of each split; test and validation are a tenth of the videos each, seed 123."""
        order = self.need("mapping/train_rand.txt", "devkit_object/mapping/train_rand.txt")
        rows = self.need("mapping/train_mapping.txt", "devkit_object/mapping/train_mapping.txt")
        images = defaultdict(list)
        with reading(rows):
            videos = [line.split()[1] for line in rows.read_text().splitlines() if line.strip()]
        with reading(order):
            for image, line in enumerate(order.read_text().replace(",", " ").split()):
                images[videos[int(line) - 1]].append(f"{image:06d}.png")
        generator = np.random.RandomState(123)  # the published draw
        names, count = sorted(images), max(len(images) // 10, 1)
        test = set(generator.choice(names, count, replace=False).tolist())
        rest = sorted(set(names) - test)
        val = set(generator.choice(rest, count, replace=False).tolist())
        splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
        for name, members in images.items():
            splits["test" if name in test else "validation" if name in val else "train"] += members
        return splits

    def keys(self, split: str) -> list[str]:
        return self._splits[split]

    def label(self, split: str, key: Key) -> int:
        path = self.need("training/label_2") / f"{Path(str(key)).stem}.txt"
        with reading(path):
            rows = (line.split() for line in path.read_text().splitlines())
            far = [float(row[13]) for row in rows if row and row[0] in VEHICLES]
        return bucket(min(far, default=NO_VEHICLE), METRES)

    def image(self, split: str, key: Key) -> bytes:
        return read_below(self.need("training/image_2"), key)

"""Data sets that were published as image files: DTD, Flowers, Pets, EuroSAT, RESISC45, SUN397."""

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from torchvision.datasets import DTD, Flowers102, OxfordIIITPet

from vit.published.decode import SUFFIXES
from vit.published.order import Key
from vit.published.raw import Raw, read_below, reading

SUN = Path(__file__).with_name("sun397.json")
RESISC = tuple(
    "airplane airport baseball_diamond basketball_court beach bridge chaparral church "
    "circular_farmland cloud commercial_area dense_residential desert forest freeway golf_course "
    "ground_track_field harbor industrial_area intersection island lake meadow medium_residential "
    "mobile_home_park mountain overpass palace parking_lot railway railway_station "
    "rectangular_farmland river roundabout runway sea_ice ship snowberg sparse_residential stadium "
    "storage_tank tennis_court terrace thermal_power_station wetland".split()
)
EUROSAT = {
    "AnnualCrop": 3000,
    "Forest": 3000,
    "HerbaceousVegetation": 3000,
    "Highway": 2500,
    "Industrial": 2500,
    "Pasture": 2000,
    "PermanentCrop": 2500,
    "Residential": 3000,
    "River": 2500,
    "SeaLake": 3000,
}


class Dtd(Raw):
    """Describable Textures, the first of its ten partitions."""

    instructions = (
        "get dtd-r1.0.1.tar.gz (md5 fff73e5086ae6bdbea199a49dfb8a4c1) from robots.ox.ac.uk/~vgg/"
        "data/dtd and unpack it there"
    )
    archives = ((DTD._URL, DTD._MD5),)
    there = ("dtd",)
    lists: ClassVar[dict[str, str]] = {"train": "train1", "validation": "val1", "test": "test1"}

    def keys(self, split: str) -> list[str]:
        path = self.need(f"dtd/labels/{self.lists[split]}.txt", f"labels/{self.lists[split]}.txt")
        return path.read_text().split()

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes in the order of labels."""
        return sorted({key.split("/")[0] for key in self.keys("train")})

    def label(self, split: str, key: Key) -> int:
        return self.classes.index(str(key).split("/")[0])

    def image(self, split: str, key: Key) -> bytes:
        return read_below(self.need("dtd/images", "images"), key)


class Flowers(Raw):
    """Oxford Flowers-102; files count from 1, labels from 0."""

    instructions = (
        "get 102flowers.tgz (md5 52808999861908f626f3c1f4e79d11fa), imagelabels.mat (md5 "
        "e0620be6f572b9609742df49c70aed4d) and setid.mat (md5 a5357ecc9cb78c4bef273ce3793fc85c) "
        "from robots.ox.ac.uk/~vgg/data/flowers/102 and unpack the first there"
    )
    archives = tuple(
        (Flowers102._download_url_prefix + name, md5)
        for name, md5 in Flowers102._file_dict.values()
    )
    home, there = "flowers-102", ("jpg", "imagelabels.mat", "setid.mat")
    lists: ClassVar[dict[str, str]] = {"train": "trnid", "validation": "valid", "test": "tstid"}

    @cached_property
    def _tables(self) -> tuple[dict, list[int]]:
        from scipy.io import loadmat  # slow to load, and only needed here

        sets, labels = (
            loadmat(io.BytesIO(self.pinned(f"flowers-102/{name}.mat", f"{name}.mat")))
            for name in ("setid", "imagelabels")
        )
        return sets, labels["labels"][0].tolist()

    def keys(self, split: str) -> list[str]:
        return [f"image_{number:05d}.jpg" for number in self._tables[0][self.lists[split]][0]]

    def label(self, split: str, key: Key) -> int:
        return self._tables[1][int(str(key)[6:11]) - 1] - 1

    def image(self, split: str, key: Key) -> bytes:
        return read_below(self.need("flowers-102/jpg", "jpg"), key)


class Pets(Raw):
    """Oxford-IIIT Pets: 37 breeds, numbered as the annotations number them."""

    instructions = (
        "get images.tar.gz (md5 5c4f3ee8e5d25df40f4fd59a7f44e54c) and annotations.tar.gz (md5 "
        "95a8c909bbe2e81eed6a22bccdf3f68f) from robots.ox.ac.uk/~vgg/data/pets and unpack both "
        "there"
    )
    archives = OxfordIIITPet._RESOURCES
    home, there = "oxford-iiit-pet", ("images", "annotations")
    lists: ClassVar[dict[str, str]] = {"train": "trainval", "test": "test"}

    @cached_property
    def _rows(self) -> dict[str, dict[str, int]]:
        rows_by_split = {}
        for split, name in self.lists.items():
            path = self.need(f"oxford-iiit-pet/annotations/{name}.txt", f"annotations/{name}.txt")
            with reading(path):
                rows = (line.split() for line in path.read_text().splitlines())
                rows_by_split[split] = {f"{row[0]}.jpg": int(row[1]) - 1 for row in rows if row}
        return rows_by_split

    def keys(self, split: str) -> list[str]:
        return list(self._rows[split])

    def label(self, split: str, key: Key) -> int:
        return self._rows[split][str(key)]

    def image(self, split: str, key: Key) -> bytes:
        return read_below(self.need("oxford-iiit-pet/images", "images"), key)


class EuroSat(Raw):
    """EuroSAT, RGB: 64x64 satellite images."""

    instructions = (
        "get EuroSAT.zip (94,280,567 bytes) from madm.dfki.de/files/sentinel and unpack it there"
    )

    def keys(self, split: str) -> list[str]:
        return [f"{c}_{c}_{i}.jpg" for c, count in EUROSAT.items() for i in range(1, count + 1)]

    def label(self, split: str, key: Key) -> int:
        return list(EUROSAT).index(str(key).split("_")[0])

    def image(self, split: str, key: Key) -> bytes:
        name, _, file = str(key).partition("_")
        return read_below(self.need("eurosat/2750", "2750"), f"{name}/{file}")


class Resisc45(Raw):
    """NWPU-RESISC45: 256x256 aerial images."""

    instructions = (
        "get NWPU-RESISC45.rar (on OneDrive; the page of TensorFlow Datasets has the link) and "
        "unpack it there"
    )

    def keys(self, split: str) -> list[str]:
        return [f"{c}_{c}_{i:03d}.jpg" for c in RESISC for i in range(1, 701)]

    def label(self, split: str, key: Key) -> int:
        return RESISC.index(self._inside(key)[0])

    def image(self, split: str, key: Key) -> bytes:
        name, file = self._inside(key)
        return read_below(self.need("NWPU-RESISC45"), f"{name}/{file}")

    @staticmethod
    def _inside(key: Key) -> tuple[str, str]:
        """The class stands twice before the number."""
        doubled, _, number = str(key).rpartition("_")
        name = doubled[: len(doubled) // 2]
        return name, f"{name}_{number}"


class Sun397(Raw):
    """SUN397 with the random split of TensorFlow Datasets (config tfds 4.0.0).

    The split is kept as a letter for each of the 108,753 names, sorted. Pixels are the archive's:
    TensorFlow Datasets shrinks and re-encodes them.
    """

    instructions = (
        "get SUN397.tar.gz (39,077,296,924 bytes, md5 8ca2778205c41d23104230ba66911c7a) from "
        "vision.princeton.edu/projects/2010/SUN and unpack it there"
    )
    letters: ClassVar[dict[str, str]] = {"train": "t", "validation": "v", "test": "e"}
    dropped = "/t/track/outdoor/sun_aophkoiosslinihb.jpg"  # damaged, and left out by the builder

    @cached_property
    def _members(self) -> dict[str, str]:
        facts, folder = json.loads(SUN.read_text()), self.need("SUN397")
        names = sorted(
            f"/{path.relative_to(folder).as_posix()}"
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES
        )
        if hashlib.md5("\n".join(names).encode()).hexdigest() != facts["names_md5"]:
            raise ValueError(
                f"{folder} holds {len(names):,} pictures, other names than the published "
                f"{facts['n']:,}; unpack the archive anew"
            )
        letters = zlib.decompress(base64.b64decode(facts["zlib_base64"])).decode()
        return dict(zip(names, letters, strict=True))

    def keys(self, split: str) -> list[str]:
        letter = self.letters[split]
        return [
            name
            for name, its_letter in self._members.items()
            if its_letter == letter and name != self.dropped
        ]

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes in the order of labels: paths such as /a/abbey."""
        return sorted({name.rpartition("/")[0] for name in self._members})

    def label(self, split: str, key: Key) -> int:
        return self.classes.index(str(key).rpartition("/")[0])

    def image(self, split: str, key: Key) -> bytes:
        return read_below(self.need("SUN397"), str(key)[1:])


class Caltech101(Raw):
    """Caltech-101, by lists: which images are which cannot be derived.

    The published builder draws 30 images a class in the order that a directory happened to be
    listed in on the machine it ran on; no order tried gives the published lists, and the copies in
    use differ (6,084 or 6,085 test images). Whoever has a copy's lists gets exactly that copy.
    """

    instructions = (
        "get caltech-101.zip (137,414,764 bytes) from data.caltech.edu/records/mzrjq-6wc02, unpack "
        "it there, and put train.txt and test.txt (lines such as accordion/image_0001.jpg, in the "
        "published order) beside 101_ObjectCategories: this task's images cannot be derived"
    )

    def keys(self, split: str) -> Sequence[str]:
        return self.need(f"{split}.txt").read_text().split()

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes in the order of labels; the background is one of the 102."""
        folder = self.need("101_ObjectCategories")
        return sorted(path.name.lower() for path in folder.iterdir() if path.is_dir())

    def label(self, split: str, key: Key) -> int:
        return self.classes.index(str(key).split("/")[0].lower())

    def image(self, split: str, key: Key) -> bytes:
        return read_below(self.need("101_ObjectCategories"), key)

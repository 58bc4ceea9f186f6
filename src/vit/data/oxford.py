"""Oxford Flowers-102 and Oxford-IIIT Pets with their official splits, and the paper's hold-outs.

Hold-outs: ViT paper (arXiv:2010.11929), appendix B.1.1: a tenth of the training images; which
ones: google-research/vision_transformer, vit_jax/configs/common.py, in the published order.
"""

from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from torchvision.datasets import Flowers102 as PublishedFlowers

from vit.batch import DataSpec
from vit.data.file_images import FileImages
from vit.data.files import Source
from vit.data.splits import hold_out
from vit.published.folders import Flowers, Pets
from vit.published.order import Key, part_of, published_order
from vit.published.raw import Raw

BREEDS = tuple(
    "Abyssinian american_bulldog american_pit_bull_terrier basset_hound beagle Bengal Birman "
    "Bombay boxer British_Shorthair chihuahua Egyptian_Mau english_cocker_spaniel english_setter "
    "german_shorthaired great_pyrenees havanese japanese_chin keeshond leonberger Maine_Coon "
    "miniature_pinscher newfoundland Persian pomeranian pug Ragdoll Russian_Blue saint_bernard "
    "samoyed scottish_terrier shiba_inu Siamese Sphynx staffordshire_bull_terrier wheaten_terrier "
    "yorkshire_terrier".split()
)


class RawFiles(Source):
    """Examples of a published data set, by split and key."""

    def __init__(self, raw: Raw, rows: list[tuple[str, Key]]) -> None:
        self.raw, self.rows = raw, rows

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, number: int) -> str:
        """Split and key."""
        split, key = self.rows[number]
        return f"{split}/{key}"

    def read(self, number: int) -> bytes:
        """The published file."""
        return self.raw.image(*self.rows[number])


class Published(FileImages):
    """A published data set of photographs with an official training and test split.

    Args:
        root: folder that holds, or will hold, torchvision's layout.
        whole: train on the hold-out too, for the one final run, as the paper's figures; validation
            is then part of the training.
        loading: sizes, crops, unreadable files, few labels: see FileImages.
    """

    raw: ClassVar[type[Raw]]
    names: ClassVar[tuple[str, ...]]
    counts: ClassVar[tuple[int, int, int]]
    redraws = True  # val_draw 0: the paper's hold-out; else as many others

    def __init__(self, root: str = "data", whole: bool = False, **loading: Any) -> None:
        super().__init__(**loading)
        self.root, self.whole = Path(root).resolve(), whole
        train, val, test = self.counts
        few = self.labels_per_class and self.labels_per_class * len(self.names)
        self.notes = ("validation is trained on: choose nothing by it",) if whole else ()
        self.spec = DataSpec(
            classes=self.names,
            image_size=(self.image_size,) * 2,
            channels=3,
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
            counts={"train": few or train + val * whole, "val": val, "test": test},
        )

    def prepare_data(self) -> None:
        """Download and unpack what is not there; one process does it."""
        self.raw(self.root).get()

    def files(self) -> tuple[RawFiles, list[int]]:
        """Training images in the published order, then test images."""
        return read_published(self.raw, self.root)

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into the published order."""
        source, labels = self.files()
        train = [i for i, (split, _) in enumerate(source.rows) if split == "train"]
        first, held = part_of(train, "train[:90%]"), part_of(train, "train[90%:]")
        if self.val_draw:
            first, held = hold_out(tuple(labels[: len(train)]), len(held), self.val_draw)
        test = list(range(len(train), len(source)))
        return {
            "train": self.few(train if self.whole else first, labels),
            "val": held,
            "test": test,
        }


@cache
def read_published(kind: type[Raw], root: Path) -> tuple[RawFiles, list[int]]:
    """Training and test images in the published order, and their labels."""
    raw = kind(root)
    rows = [
        (split, key)
        for split in ("train", "test")
        for key in published_order(raw.keys(split), split)
    ]
    return RawFiles(raw, rows), [raw.label(split, key) for split, key in rows]


class Flowers102(Published):
    """Oxford Flowers-102: 1,020 training and 6,149 test photographs of 102 species.

    Args:
        root: folder that holds, or will hold, torchvision's layout.
        whole: train on the hold-out too; see Published.
        loading: sizes, crops, unreadable files, few labels: see FileImages.
    """

    raw = Flowers
    names = tuple(PublishedFlowers.classes)
    counts = (918, 102, 6_149)


class OxfordPets(Published):
    """Oxford-IIIT Pets: 3,680 training and 3,669 test photographs of 37 breeds.

    Args:
        root: folder that holds, or will hold, torchvision's layout.
        whole: train on the hold-out too; see Published.
        loading: sizes, crops, unreadable files, few labels: see FileImages.
    """

    raw = Pets
    names = BREEDS
    counts = (3_312, 368, 3_669)

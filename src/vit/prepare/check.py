"""Read every image of a data set once, in parallel: the unreadable, the doubled, empty classes."""

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from vit.data.base import Images
from vit.data.file_images import FileImages
from vit.data.files import Source
from vit.data.in_memory import InMemory
from vit.published.decode import decode

SPLITS = ("train", "val", "test")
CHUNK = 8  # images that a thread is given at a time
Checked = tuple[int, str, str]  # place, digest of its pixels, why it cannot be read


@dataclass
class CheckReport:
    """What is wrong with a data set, and how large it is.

    Args:
        counts: images by split.
        unreadable: name and reason.
        doubled: groups of names with the same pixels, each with its split.
        across: those whose images stand in several splits, or have several labels.
        empty: classes without a training image.
        sizes: images by class in the training split.
    """

    counts: dict[str, int] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    doubled: list[list[str]] = field(default_factory=list)
    across: list[list[str]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Is there nothing that spoils a figure?"""
        return not (self.unreadable or self.across or self.empty)

    def lines(self) -> list[str]:
        """The report for people, line by line."""
        counts = ", ".join(f"{count:,} {split}" for split, count in self.counts.items())
        sizes = [f"read {sum(self.counts.values()):,} images: {counts}"]
        if self.sizes:
            least, most = (pick(self.sizes, key=self.sizes.get) for pick in (min, max))
            sizes.append(
                f"{len(self.sizes)} classes, {self.sizes[least]:,} ({least}) to "
                f"{self.sizes[most]:,} ({most}) training images"
            )
        wrong = [f"unreadable: {name}: {why}" for name, why in self.unreadable]
        wrong += [f"in several splits or classes: {' = '.join(same)}" for same in self.across]
        wrong += [f"twice: {' = '.join(same)}" for same in self.doubled if same not in self.across]
        wrong += [f"no training image: class {name}" for name in self.empty]
        return sizes + (wrong or ["nothing wrong"])


def check_data(data: Images, tell: Callable[[int, int], None]) -> CheckReport:
    """Read every image of every split.

    Args:
        data: prepared.
        tell: called with images read, and images in all.
    """
    report, places = CheckReport(), data.split_indices()
    report.counts = {split: len(places[split]) for split in SPLITS}
    groups: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    done, total = 0, sum(report.counts.values())
    for split in SPLITS:
        for name, label, digest, why in read_split(data, split):
            done += 1
            tell(done, total)
            if why:
                report.unreadable.append((name, why))
            else:
                groups[digest].append((split, name, label))
    for same in groups.values():
        if len(same) > 1:
            names = [f"{name} ({split})" for split, name, _ in same]
            report.doubled.append(names)
            if len({split for split, _, _ in same}) > 1 or len({x for _, _, x in same}) > 1:
                report.across.append(names)
    classes, counts = data.spec.classes, train_counts(data)
    report.sizes = {name: counts[i] for i, name in enumerate(classes) if counts[i]}
    report.empty = [name for i, name in enumerate(classes) if not counts[i]]
    return report


def train_counts(data: Images) -> Counter[int]:
    """How many training images each class has."""
    dataset = data.open("train")
    if data.spec.multi_label:
        return Counter(dict(enumerate(dataset.accepted.sum(0).tolist())))
    return Counter(dataset.labels.tolist())


def read_split(data: Images, split: str) -> Iterator[tuple[str, int, str, str]]:
    """Name, label, digest and reason of each image of a split, in its order."""
    dataset = data.open(split)
    if isinstance(dataset, InMemory):
        for number, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
            yield f"image {number}", int(label), pixel_digest(image), ""
        return
    assert isinstance(data, FileImages)
    source, labels = data.files()
    places = dataset.places.tolist()
    for place, digest, why in check_in_threads(source, data.apply_exif_and_alpha, places):
        yield source.name(place), labels[place], digest, why


def check_in_threads(
    source: Source, apply_exif_and_alpha: bool, places: list[int]
) -> Iterator[Checked]:
    """The same as `check_images`, on all cores: reading and decoding leave Python to the others.

    Further processes took longer to start than hundreds of pictures take to be read.
    """
    chunks = [places[i : i + CHUNK] for i in range(0, len(places), CHUNK)]
    settings = [source] * len(chunks), [apply_exif_and_alpha] * len(chunks)
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # of odd files; filters belong to all threads together
        for checked in pool.map(check_images, *settings, chunks):
            yield from checked


def check_images(source: Source, apply_exif_and_alpha: bool, places: list[int]) -> list[Checked]:
    """Decode some images: the digest of each one's pixels, or why it cannot be read."""
    checked = []
    for place in places:
        try:
            image = decode(source.read(place), apply_exif_and_alpha)
            checked.append((place, pixel_digest(image), ""))
        except (ValueError, OSError) as error:
            checked.append((place, "", str(error)))
    return checked


def pixel_digest(image: torch.Tensor) -> str:
    """Hexadecimal digits that are the same for the same pixels, whatever the file."""
    pixels = image.contiguous().numpy().tobytes()
    shape = repr(tuple(image.shape)).encode()
    return hashlib.blake2b(pixels, digest_size=16, key=shape).hexdigest()

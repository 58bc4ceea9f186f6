"""Shards whose description, classes or splits cannot be are one line that names the file."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from pictures import picture, saved
from vit.data import ShardImages, shard_images
from vit.prepare import shards as to_shards


@pytest.fixture(autouse=True)
def _fresh():
    for known in (shard_images.open_archives, shard_images.carved):
        known.cache_clear()


def shard(path: Path, first: int, labels: list[int | None]) -> Path:
    """An archive of so many images; None: without a label."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, label in enumerate(labels, first):
            split = path.name.split("-")[0]
            parts = {"jpg": saved(picture(number, 20, 16))}
            parts |= {} if label is None else {"cls": str(label).encode()}
            for kind, data in sorted(parts.items()):
                info = tarfile.TarInfo(f"{split}-{number:08d}.{kind}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    """Three splits of ten, four and four images of two classes."""
    for split, count in (("train", 10), ("val", 4), ("test", 4)):
        shard(tmp_path / f"root/{split}-000000.tar", 0, [i % 2 for i in range(count)])
    return tmp_path / "root"


def refused(root: Path, told: str, **how) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        ShardImages(str(root), **how)
    assert told in str(caught.value)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + 2 * len(str(root))


ABOUT = {
    "form": "as_is",
    "apply_exif_and_alpha": True,
    "classes": ["a", "b"],
    "mean": [0.5] * 3,
    "std": [0.2] * 3,
    "counts": {"train": 10, "val": 4, "test": 4},
}


def test_a_sound_description_is_followed(root):
    (root / "dataset.json").write_text(json.dumps(ABOUT))
    data = ShardImages(str(root))
    assert data.spec.classes == ("a", "b")
    assert data.spec.std == (0.2,) * 3
    assert data.apply_exif_and_alpha


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("form", "jpg"), ("form", None), ("form", []), ("short_side", None), ("short_side", "20"),
        ("quality", None), ("quality", 9.5),
        ("apply_exif_and_alpha", 1), ("apply_exif_and_alpha", "false"),
        ("apply_exif_and_alpha", None),
        ("classes", "ab"), ("classes", {"a": 1}), ("classes", ["a", 2]), ("classes", 7),
        ("mean", 0.5), ("mean", []), ("mean", [0.5] * 2), ("mean", ["0.5"] * 3),
        ("mean", [float("nan")] * 3), ("mean", "0.5"), ("mean", None), ("std", [0.0] * 3),
        ("std", [float("inf")] * 3), ("std", [-1.0] * 3), ("std", []), ("std", None),
        ("counts", {"train": 10, "val": 4}), ("counts", {}), ("counts", 18), ("counts", [10, 4, 4]),
        ("counts", {"train": "10", "val": 4, "test": 4}),
        ("counts", {"train": 10, "val": 4, "test": -4}),
        ("counts", {"train": 10, "val": 4, "test": True}),
    ],
)  # fmt: skip
def test_a_description_of_another_kind_is_named(root, key, value):
    form = {"form": "jpeg", "short_side": 20, "quality": 90}
    (root / "dataset.json").write_text(json.dumps(ABOUT | form | {key: value}))
    refused(root, f"dataset.json is damaged: {key} is ")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe{}", b"[" * 100_000, b'{"form": 1e999}']
)
def test_a_description_that_is_none_is_named(root, text):
    (root / "dataset.json").write_bytes(text)
    refused(root, "dataset.json is damaged")


def test_a_description_without_classes_or_mean_leaves_the_usual(root):
    found = {"counts": ABOUT["counts"], "std": [0.2]}
    (root / "dataset.json").write_text(json.dumps(found))
    spec = ShardImages(str(root)).spec
    assert (spec.classes, spec.mean, spec.std) == (("0", "1"), (0.5,) * 3, (0.2,) * 3)


def test_an_empty_last_archive_is_no_sample_of_another_split(root):
    shard(root / "test-000001.tar", 0, [])
    (root / "dataset.json").write_text(json.dumps(ABOUT))
    assert ShardImages(str(root)).spec.counts["test"] == 4


def test_a_file_of_class_names_that_cannot_be_read_is_named(root, tmp_path):
    names = root / "names.txt"
    refused(root, "names.txt cannot be read (No such file or directory); give", classes=str(names))
    names.write_bytes(b"caf\xe9\ndog\n")
    refused(root, "names.txt is not UTF-8", classes=str(names))
    names.write_text("one\n")
    refused(root, "1 names in ", classes=str(names))
    refused(root, "cannot be read (Is a directory)", classes=str(root))
    names.write_bytes("\ufeffcafé\r\ndog\r\n".encode())
    assert ShardImages(str(root), classes=str(names)).spec.classes == ("café", "dog")


def test_a_split_without_a_sample_is_named(root):
    for split in ("train", "val", "test"):
        shard(root / f"{split}-empty.tar", 0, [])
        refused(root, f"data.{split}: no sample in {root}/{split}-e", **{split: f"{split}-e*.tar"})


def test_training_images_are_not_evaluated_on(root):
    refused(root, "train-000000.tar is trained on and evaluated on", val="*.tar")
    refused(root, "test-000000.tar is trained on and evaluated on", train="*.tar", val=None)
    both = ShardImages(str(root), val="val-*.tar", test="val-*.tar")
    assert both.split_indices()["test"] == list(range(14, 18))
    assert both.files()[0].name(14) == both.files()[0].name(10) == "val-000000.tar/val-00000000"


@pytest.mark.parametrize("pattern", ["", ".", "/tmp/*.tar", "a**", "nothing-*.tar"])
def test_a_pattern_that_is_none_is_named(root, pattern):
    refused(root, "see data.root, data.train", train=pattern)


def test_a_row_of_archives_ends_at_the_first_that_is_missing(root, monkeypatch):
    asked, is_file = [], Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: asked.append(path) or is_file(path))
    refused(root, "train-000001.tar is not there", train="train-{000000..029999}.tar")
    assert len(asked) < 10
    (root / "train-000001.tar").mkdir()
    refused(root, "train-000001.tar is not there, or no file")


def test_a_root_that_is_a_file_is_named(root):
    refused(root / "train-000000.tar", "is not there")


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_share_to_validate_on_lies_between_none_and_all(root, share):
    with pytest.raises(ValueError, match=r"val_fraction must be in \(0, 1\), got"):
        ShardImages(str(root), val=None, val_fraction=share)


def test_a_class_of_one_sample_cannot_be_carved(root):
    shard(root / "train-000001.tar", 10, [2])
    told = "class 2 has one sample in "
    refused(root, told, val=None, val_fraction=0.5)


def test_samples_without_any_label_have_no_classes(root):
    for split in ("train", "val", "test"):
        shard(root / f"{split}-000000.tar", 0, [None] * 4)
    assert ShardImages(str(root)).spec.classes == ()


def test_written_shards_are_described_as_they_are_read(tmp_path):
    found = ABOUT | {"form": "jpeg", "short_side": 20, "quality": 90, "per_shard": 5}
    (tmp_path / "dataset.json").write_text(json.dumps(found))
    assert to_shards.read_about(tmp_path) == found

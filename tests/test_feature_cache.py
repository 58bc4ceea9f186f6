"""Kept features are the ones that were made, picture by picture, or they are made anew."""

import pytest
import torch

from vit.evaluate.base import FrozenFeatures
from vit.evaluate.feature_cache import FeatureCache

PICTURES = list("abcdef")
LABELS = torch.arange(6)
ALL = torch.arange(6)


def features(tokens: bool = True, first: int = 0) -> FrozenFeatures:
    generator = torch.Generator().manual_seed(first)
    rows = torch.randn(6, 4, generator=generator)
    patches = torch.randn(6, 3, 4, generator=generator).half() if tokens else None
    return FrozenFeatures({"cls": rows, "mean": rows + 1}, LABELS, patches)


@pytest.mark.parametrize("tokens", [True, False])
def test_what_is_kept_comes_back_bit_for_bit(tmp_path, tokens):
    cache, kept = FeatureCache(tmp_path / "new"), features(tokens)
    assert cache.get("key", PICTURES, LABELS) is None
    cache.keep("key", PICTURES, kept, ALL)
    read = cache.get("key", PICTURES, LABELS)
    assert list(read.pooled) == ["cls", "mean"]
    assert all(torch.equal(read.pooled[name], kept.pooled[name]) for name in kept.pooled)
    assert torch.equal(read.labels, kept.labels)
    assert torch.equal(read.tokens, kept.tokens) if tokens else read.tokens is None


def test_other_splits_of_the_same_pictures_are_read_and_none_is_another_s(tmp_path):
    cache, kept = FeatureCache(tmp_path), features()
    cache.keep("key", PICTURES[:4], kept[:4], torch.arange(4))
    cache.keep("key", PICTURES[4:], kept[4:], torch.arange(2))
    order = [5, 0, 3, 4]  # over both files, with other labels
    read = cache.get("key", [PICTURES[i] for i in order], torch.tensor([7, 8, 9, 7]))
    assert torch.equal(read.features, kept.features[order])
    assert torch.equal(read.tokens, kept.tokens[order])
    assert read.labels.tolist() == [7, 8, 9, 7]
    assert cache.get("key", ["a", "g"], LABELS[:2]) is None  # g was never seen
    assert cache.get("other", PICTURES, LABELS) is None  # another encoder


def test_a_picture_that_could_not_be_read_counts_nowhere(tmp_path):
    cache, kept = FeatureCache(tmp_path), features()
    cache.keep("key", PICTURES, kept[[0, 2, 3, 4, 5]], torch.tensor([0, 2, 3, 4, 5]))
    read = cache.get("key", ["a", "b", "c"], torch.tensor([1, 2, 3]))
    assert torch.equal(read.features, kept.features[[0, 2]])
    assert read.labels.tolist() == [1, 3]


def test_without_a_folder_nothing_is_kept():
    FeatureCache(None).keep("key", PICTURES, features(), ALL)
    assert FeatureCache(None).get("key", PICTURES, LABELS) is None


def spoil(content: bytes, how: str) -> bytes:
    if how == "truncated":
        return content[: len(content) // 2]
    if how == "empty":
        return b""
    place = content.index(features().pooled["cls"].numpy().tobytes()) + 2
    return content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :]


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty"])
def test_a_damaged_file_is_told_and_made_anew(tmp_path, capsys, how):
    cache = FeatureCache(tmp_path)
    cache.keep("key", PICTURES, features(), ALL)
    (file,) = tmp_path.glob("key-*.pt")
    file.write_bytes(spoil(file.read_bytes(), how))
    assert cache.get("key", PICTURES, LABELS) is None
    told = capsys.readouterr().out
    assert told.startswith(f"features: {file} is damaged or foreign (")
    assert told.endswith("; made anew\n")
    cache.keep("key", PICTURES, features(), ALL)
    assert cache.get("key", PICTURES, LABELS) is not None


def test_a_file_that_was_renamed_is_not_taken_for_another(tmp_path, capsys):
    cache = FeatureCache(tmp_path)
    cache.keep("key", PICTURES, features(), ALL)
    (file,) = tmp_path.glob("key-*.pt")
    file.rename(tmp_path / "kez-1.pt")
    assert cache.get("kez", PICTURES, LABELS) is None
    assert "another file under this name" in capsys.readouterr().out


ROWS = {"key": "key", "unread": [], "pictures": PICTURES}


@pytest.mark.parametrize(
    "content",
    [
        [1],
        {},
        {"key": "key"},
        ROWS | {"pooled": {}, "tokens": None},
        ROWS | {"pooled": {"cls": torch.zeros(5, 4)}, "tokens": None},
        ROWS | {"pooled": {"cls": torch.zeros(6, 4)}, "tokens": torch.zeros(5, 2, 4)},
    ],
)
def test_a_foreign_file_is_made_anew(tmp_path, content):
    torch.save(content, tmp_path / "key-1.pt")
    assert FeatureCache(tmp_path).get("key", PICTURES, LABELS) is None

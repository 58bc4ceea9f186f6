"""Kept features are the ones that were made, or they are made anew."""

import pytest
import torch

from vit.evaluate.base import FrozenFeatures
from vit.evaluate.feature_cache import FeatureCache


def features(tokens: bool = True) -> FrozenFeatures:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 4, generator=generator)
    patches = torch.randn(6, 3, 4, generator=generator).half() if tokens else None
    return FrozenFeatures({"cls": rows, "mean": rows + 1}, torch.arange(6), patches)


@pytest.mark.parametrize("tokens", [True, False])
def test_what_is_kept_comes_back_bit_for_bit(tmp_path, tokens):
    cache, kept = FeatureCache(tmp_path / "new"), features(tokens)
    assert cache.get("abc") is None
    cache.keep("abc", kept)
    found = cache.get("abc")
    assert list(found.pooled) == ["cls", "mean"]
    assert all(torch.equal(found.pooled[name], kept.pooled[name]) for name in kept.pooled)
    assert torch.equal(found.labels, kept.labels)
    assert torch.equal(found.tokens, kept.tokens) if tokens else found.tokens is None


def test_without_a_folder_nothing_is_kept():
    FeatureCache(None).keep("abc", features())
    assert FeatureCache(None).get("abc") is None


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
    cache.keep("abc", features())
    file = tmp_path / "abc.pt"
    file.write_bytes(spoil(file.read_bytes(), how))
    assert cache.get("abc") is None
    told = capsys.readouterr().out
    assert told.startswith(f"features: {file} is damaged or foreign (")
    assert told.endswith("; made anew\n")
    cache.keep("abc", features())
    assert cache.get("abc") is not None


def test_a_file_that_was_renamed_is_not_taken_for_another(tmp_path, capsys):
    cache = FeatureCache(tmp_path)
    cache.keep("abc", features())
    (tmp_path / "abc.pt").rename(tmp_path / "def.pt")
    assert cache.get("def") is None
    assert "another file under this name" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [[1], {}, {"key": "abc"}, {"key": "abc", "pooled": {}, "labels": 3, "tokens": None}]
)
def test_a_foreign_file_is_made_anew(tmp_path, content):
    torch.save(content, tmp_path / "abc.pt")
    assert FeatureCache(tmp_path).get("abc") is None

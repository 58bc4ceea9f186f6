"""Test images that cannot be read are left out before the start, and named once."""

from pathlib import Path

import pytest

from pictures import folder
from vit.compare import tested_images as module
from vit.compare.tested_images import unread_images
from vit.data import ImageFolder


def torn(root: Path, **settings) -> ImageFolder:
    """Forty pictures; the third and the sixth that are tested are cut short."""
    folder(root, {"a": 20, "b": 20})
    how = {"image_size": 16, "workers": 0, "on_error": "skip", "most_unread": 0.1}
    data = ImageFolder(str(root), **how | settings)
    for number in (2, 5):
        path = root / data.names("test")[number]
        path.write_bytes(path.read_bytes()[:100])
    return data


def test_they_are_found_once_for_all_arms(tmp_path, capsys):
    data = torn(tmp_path)
    assert unread_images(data) == (2, 5)
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in told] == ["data"] * 2
    assert all(data.names("test")[number] in "".join(told) for number in (2, 5))
    again = ImageFolder(str(tmp_path), image_size=24, workers=0, on_error="skip", most_unread=0.1)
    about = module.tested_images(again)
    assert (about["tested"], about["unread"]) == (6, (2, 5))
    assert about["splits"]["test"] == data.split_hash("test")
    assert capsys.readouterr().err == ""


def test_nothing_is_left_out_where_an_error_ends_the_run(tmp_path):
    assert unread_images(torn(tmp_path, on_error="raise")) == ()


def test_too_many_end_the_planning(tmp_path):
    with pytest.raises(ValueError, match=r"2 files cannot be read, more than data.most_unread"):
        unread_images(torn(tmp_path, most_unread=0.01))

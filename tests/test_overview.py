"""What prepare says of a data set, and the command that it goes on with."""

import pytest

from launch import launch
from pictures import folder, picture
from vit.data import ImageFolder
from vit.prepare.overview import MOST, fitting_size, next_fit, overview_of, short_sides


@pytest.mark.parametrize(
    ("side", "size", "patch"),
    [(500, 224, None), (168, 224, None), (167, 112, None), (84, 112, None), (83, 80, 10),
     (32, 32, 4), (28, 24, 3), (5, 8, 1)],
)  # fmt: skip
def test_pictures_are_shown_at_a_size_that_fits(side, size, patch):
    assert fitting_size(side) == (size, patch)
    assert size % (patch or 14) == 0
    assert size % (patch or 16) == 0


def test_sizes_and_what_is_not_used_are_said(tmp_path):
    folder(tmp_path, {"a": 12, "b": 12}, width=40, height=30)
    picture(1, 300, 200).save(tmp_path / "a" / "large.jpg")
    for number in range(3):
        (tmp_path / "a" / f"phone{number}.heic").write_bytes(b"x")
    (tmp_path / "b" / "torn.jpg").write_bytes(b"no picture")
    folder(tmp_path, {"unlabelled": 4})
    data = ImageFolder(str(tmp_path), workers=0)
    lines = overview_of(data, ["--data.root", "my pictures"])
    assert lines[:3] == [f"{s}: {data.spec.counts[s]} images" for s in ("train", "val", "test")]
    assert "short sides: 30 px (smallest), 30 (median), 200 (largest)" in lines
    assert "unreadable: 1 of 26 looked at; --check names them" in lines
    assert "note: 3 .heic files are not read; convert them to JPEG or PNG" in lines
    assert any(line.startswith("note: 4 pictures without a label are not used") for line in lines)
    assert lines[-1] == (
        "next: python train.py fit --config configs/pretrain/supervised.yaml --data.root "
        "'my pictures' --data.image_size 24 --model.encoder.patch_size 3"
    )


def test_a_size_that_was_typed_stays():
    argv = ["--data", "configs/data/image_folder.yaml", "--data.root", "x"]
    assert next_fit(argv, 500) == (
        "python train.py fit --config configs/finetune/own_images.yaml --data.root x "
        "--data.image_size 224 --model.pretrained <run or released weights>"
    )
    assert "--data.image_size 224" not in next_fit([*argv, "--data.image_size=96"], 500)


def test_of_a_large_set_some_are_measured(tmp_path, monkeypatch):
    folder(tmp_path, {"a": 15, "b": 15})
    monkeypatch.setattr("vit.prepare.overview.MOST", 10)
    data = ImageFolder(str(tmp_path), workers=0)
    assert short_sides(data)[1] == 10
    assert any(line.endswith(", of 10 pictures") for line in overview_of(data, []))
    assert MOST >= 1000


def test_the_command_for_small_pictures_runs(tmp_path):
    folder(tmp_path / "mine", {"a": 20, "b": 20}, width=32, height=32)
    mine = ("--data", "configs/data/image_folder.yaml", "--data.root", "mine")
    ended = launch("prepare", *mine, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    command = ended.out.splitlines()[-1].removeprefix("next: python train.py ").split()
    assert command[-4:] == ["--data.image_size", "32", "--model.encoder.patch_size", "4"]
    tried = launch(*command, "--print_config", cwd=tmp_path)
    assert tried.code == 0, tried.everything

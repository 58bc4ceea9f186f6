"""Preparing data survives SIGKILL at any instant: started again, it ends with the same bytes."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from launch import CONTEXT, _child, launch
from pictures import folder, picture, saved

KILLS = 10


def dtd(root: Path) -> None:
    """The full lists over small pictures: 1,880 of each split."""
    names = [f"c{i % 47:02d}/{split}{i:04d}.jpg" for split in "abc" for i in range(1880)]
    data = [saved(picture(number, 8, 8)) for number in range(6)]
    for number, name in enumerate(names):
        path = root / "dtd/images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[number % 6])
    (root / "dtd/labels").mkdir()
    for split, file in zip("abc", ("train1", "val1", "test1"), strict=True):
        rows = [name for name in names if name.split("/")[1].startswith(split)]
        (root / f"dtd/labels/{file}.txt").write_text("\n".join(rows))


def killed(words: tuple[str, ...], cwd: Path, files: int) -> bool:
    """Start the verb and SIGKILL it once it has made so many files; was it still at work?"""
    worker = CONTEXT.Process(
        target=_child, args=(list(words), str(cwd), str(cwd / "out.txt"), (None, 0), {})
    )
    wanted = count(cwd / "parts") + files
    worker.start()
    while worker.is_alive() and count(cwd / "parts") < wanted:
        time.sleep(0.002)
    alive = worker.is_alive()
    if alive:
        os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    return alive


def count(root: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(root))


def content(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*")
            if p.is_file() and p.suffix != ".part"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", ["vtab", "shards"])
def test_ten_kills_change_no_byte(tmp_path, what):
    if what == "vtab":
        dtd(tmp_path / "raw")
        words = ("prepare", "--vtab", "dtd", "--raw", "raw", "--out")
    else:
        folder(tmp_path / "mine", {"a": 1500, "b": 1500}, width=60, height=60)
        words = ("prepare", "--to", "shards", "--per_shard", "50", "--short_side", "40", "--data",
                 "configs/data/image_folder.yaml", "--data.root", "mine", "--out")  # fmt: skip
    ended = launch(*words, "whole", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    generator, most = random.Random(0), count(tmp_path / "whole") // KILLS
    for _ in range(KILLS):
        assert killed((*words, "parts"), tmp_path, generator.randint(1, most))
    assert launch(*words, "parts", cwd=tmp_path).code == 0
    assert content(tmp_path / "parts") == content(tmp_path / "whole")

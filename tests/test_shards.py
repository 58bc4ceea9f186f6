"""Tar shards: every file found where it lies, every sample met once, nothing mistaken."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from launch import launch
from pictures import folder, picture, saved
from vit.batch import LoaderContext
from vit.data import Digits, ImageFolder, ShardImages, listing, shard_images
from vit.data.crops import Cut
from vit.data.files import Files
from vit.data.sampling import EvaluationBatches, ResumableLoader, TrainingBatches
from vit.data.shard_index import build_index
from vit.data.shards import Shards
from vit.data.tar import read_members
from vit.prepare import shards as to_shards
from vit.published.decode import decode, packed

NAMES = ["a.jpg", "b/c.cls", "d" * 90 + ".jpg", "e" * 80 + "/" + "f" * 80 + ".jpg", "ü ß/猫.jpg"]


def archive(path: Path, files: dict[str, bytes], **how) -> Path:
    with tarfile.open(path, "w", **how) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def found(path: Path) -> list:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(read_members(descriptor, str(path)))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_those_that_python_s_own_module_finds(tmp_path, kind):
    files = {name: os.urandom(17 * number) for number, name in enumerate(NAMES)}
    path = archive(tmp_path / "x.tar", files, format=kind)
    with tarfile.open(path) as tar:
        theirs = [(m.name, m.offset_data, m.size) for m in tar.getmembers()]
    assert [tuple(member) for member in found(path)] == theirs
    assert [member.name for member in found(path)] == NAMES


def test_sizes_beyond_eight_gigabytes_are_understood(tmp_path):
    path = archive(tmp_path / "x.tar", {"a.jpg": b"12345"}, format=tarfile.GNU_FORMAT)
    data = bytearray(path.read_bytes())
    data[124:136] = bytes([0x80]) + (5).to_bytes(11, "big")  # the same size, written in base 256
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    path.write_bytes(data)
    assert found(path) == [("a.jpg", 512, 5)]


@pytest.mark.parametrize(
    ("name", "kind", "error"),
    [
        ("../a.jpg", tarfile.REGTYPE, "leads out of its folder"),
        ("/etc/passwd", tarfile.REGTYPE, "leads out of its folder"),
        ("a.jpg", tarfile.SYMTYPE, "is a symbolic link; only files are read"),
        ("a.jpg", tarfile.LNKTYPE, "is a hard link"),
        ("a.jpg", tarfile.CHRTYPE, "is a device"),
        ("a.jpg", tarfile.FIFOTYPE, "is a pipe"),
    ],
)
def test_what_no_data_set_needs_is_refused(tmp_path, name, kind, error):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "b"
        tar.addfile(info)
    with pytest.raises(ValueError, match=error):
        found(tmp_path / "x.tar")


def test_a_damaged_archive_is_one_line(tmp_path):
    whole = archive(tmp_path / "x.tar", {"a.jpg": b"1" * 3000, "b.jpg": b"2"}).read_bytes()
    for data, error in (
        (whole[:2000], "is cut off at byte 2,000"),
        (whole[:3584], "is cut off at byte 3,584"),
        (b"\x1f\x8b" + whole, "is no tar archive, or damaged at byte 0"),
        (b"", "is cut off at byte 0"),
    ):
        (tmp_path / "y.tar").write_bytes(data)
        with pytest.raises(ValueError, match=error):
            found(tmp_path / "y.tar")


def shards(root: Path, count: int, each: int) -> Path:
    root.mkdir(exist_ok=True)
    number = 0
    for shard in range(count):
        files = {}
        for _ in range(each + shard % 2):
            files |= {f"{number:04d}.cls": str(number % 3).encode(),
                      f"{number:04d}.jpg": saved(picture(number, 20, 16))}  # fmt: skip
            number += 1
        archive(root / f"train-{shard:02d}.tar", files)
    return root


def test_samples_are_neighbours_that_share_a_name(tmp_path):
    image = saved(picture())
    path = archive(tmp_path / "x.tar", {
        "n/1.jpg": image, "n/1.json": json.dumps({"label": 7}).encode(), "README": b"passed over",
        "2.tar.cls": b"3", "2.jpg": image, "3.PNG": image,
    })  # fmt: skip
    index = build_index(path)
    assert index.names == ["n/1", "2", "3"]
    assert index.labels.tolist() == [7, -1, -1]  # the second's label is called tar.cls
    source = Shards([path])
    assert [source.read(i) for i in range(3)] == [image] * 3
    assert source.name(0) == "x.tar/n/1"
    for files, error in (
        ({"1.cls": b"3"}, "needs one image, holds cls"),
        ({"1.jpg": b"", "1.cls": b"cat"}, "has no number for a label"),
    ):
        with pytest.raises(ValueError, match=error):
            build_index(archive(tmp_path / "y.tar", files))


def test_webdataset_s_own_files_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as writer:
        for number in range(3):
            writer.write({"__key__": f"{number:06d}", "jpg": saved(picture(number)), "cls": number})
    source = Shards([tmp_path / "w.tar"])
    assert source.labels.tolist() == [0, 1, 2]
    assert source.read(2) == saved(picture(2))


def test_an_index_is_made_once_and_again_when_its_archive_changed(tmp_path, monkeypatch):
    root = shards(tmp_path, 1, 3)
    first = Shards([root / "train-00.tar"], root / "index")
    monkeypatch.setattr("vit.data.shard_index.build_index", lambda path: 1 / 0)
    again = Shards([root / "train-00.tar"], root / "index")
    assert np.array_equal(again.places, first.places)
    assert [again.name(i) for i in range(3)] == [first.name(i) for i in range(3)]
    os.utime(root / "train-00.tar", ns=(1, 1))
    with pytest.raises(ZeroDivisionError):
        Shards([root / "train-00.tar"], root / "index")


def test_an_index_that_does_not_match_its_archive_is_noticed(tmp_path):
    root = shards(tmp_path, 1, 4)
    path = root / "train-00.tar"
    source = Shards([path])
    archive(path, {f"{i:04d}.jpg": saved(picture(i, 30, 20)) for i in range(4)})
    with pytest.raises(ValueError, match=r"does not match its index .*; remove the index"):
        source.read(2)


def keys(source: Shards, draws) -> list[str]:
    dataset = Files(source, torch.arange(len(source)), torch.tensor(source.labels), [Cut(8)])
    loader = ResumableLoader(dataset, sampler=draws, batch_size=None, num_workers=2)
    return [source.name(i) for batch in loader for i in batch.index.tolist() if i >= 0]


def test_three_ranks_with_two_workers_meet_every_sample_once(tmp_path):
    source = Shards(sorted(shards(tmp_path, 7, 6).glob("*.tar")))  # 45 samples in 7 archives

    def rank(number: int, consumed: int) -> list[str]:
        context = LoaderContext(rank=number, world_size=3, consumed=lambda: consumed)
        return keys(source, TrainingBatches(len(source), 3, context))

    seen = [name for number in range(3) for name in rank(number, 0)]
    assert sorted(seen) == sorted(source.name(i) for i in range(45))
    resumed = [name for number in range(3) for name in rank(number, 3)]
    assert len(resumed) == 18
    assert set(resumed) < set(seen)
    for number in range(3):
        assert rank(number, 0)[9:] == rank(number, 3)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_evaluation_meets_every_sample_once_on_any_number_of_ranks(tmp_path, world):
    source = Shards(sorted(shards(tmp_path, 7, 6).glob("*.tar")))
    contexts = [LoaderContext(rank=rank, world_size=world) for rank in range(world)]
    seen = [name for each in contexts for name in keys(source, EvaluationBatches(45, 4, each))]
    assert sorted(seen) == sorted(source.name(i) for i in range(45))


# ---- written and read again -------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _fresh():
    for known in (listing.survey, shard_images.open_archives, shard_images.carved):
        known.cache_clear()


def ours(tmp_path) -> ImageFolder:
    folder(tmp_path / "mine", {"a": 15, "b": 15}, width=50, height=40)
    return ImageFolder(str(tmp_path / "mine"), image_size=16, workers=0)


@pytest.mark.parametrize("form", ["as_is", "jpeg", "raw"])
def test_shards_of_a_folder_hold_its_images_and_labels(tmp_path, form):
    data = ours(tmp_path)
    to_shards.write_shards(data, tmp_path / "out", form, 20, 7, lambda *_: None)
    back = ShardImages(str(tmp_path / "out"), image_size=16, workers=0)
    assert back.spec.classes == data.spec.classes
    assert back.spec.counts == data.spec.counts
    assert bool(back.notes) == (form != "as_is")
    for split in ("train", "val", "test"):
        one, other = data.open(split), back.open(split)
        assert one.labels.tolist() == other.labels.tolist()
        for i in range(len(one)):
            first, second = (d.source.read(int(d.places[i])) for d in (one, other))
            if form == "as_is":
                assert first == second
            else:
                assert decode(second).shape == (3, 20, 25)
                small = to_shards.encode_image(decode(first), form, 20)[1]
                assert second == small


def test_raw_pixels_are_the_pixels(tmp_path):
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    assert torch.equal(decode(packed(image)), image)
    assert torch.equal(decode(packed(image[:1])), image[:1].expand(3, -1, -1))
    with pytest.raises(ValueError, match="raw pixels are cut off"):
        decode(packed(image)[:-1])


def test_writing_goes_on_where_it_stopped_and_ends_with_the_same_bytes(tmp_path):
    data = ours(tmp_path)
    to_shards.write_shards(data, tmp_path / "whole", "jpeg", 20, 5, lambda *_: None)

    class Killed(Exception):
        pass

    for stop in (("train", 10), ("val", 3), ("test", 5)):

        def tell(split, done, of, stop=stop):
            if (split, done) == stop:
                raise Killed

        with pytest.raises(Killed):
            to_shards.write_shards(data, tmp_path / "parts", "jpeg", 20, 5, tell)
    to_shards.write_shards(data, tmp_path / "parts", "jpeg", 20, 5, lambda *_: None)
    files = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "parts").iterdir())
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    with pytest.raises(ValueError, match="written otherwise; choose another"):
        to_shards.write_shards(data, tmp_path / "parts", "raw", 20, 5, lambda *_: None)


def test_data_in_memory_becomes_shards_too(tmp_path):
    to_shards.write_shards(Digits(), tmp_path, "as_is", 8, 500, lambda *_: None)
    back = ShardImages(str(tmp_path), image_size=8, workers=0)
    source, labels = back.files()
    test = back.split_indices()["test"]
    expected = Digits().open("test")
    assert [labels[i] for i in test] == expected.labels.tolist()
    assert torch.equal(decode(source.read(test[5])), expected.images[5].expand(3, -1, -1))


def test_public_layouts_are_found_by_their_names(tmp_path):
    root = shards(tmp_path, 4, 6)
    parts = {"train": "train-{00..02}.tar", "val": None, "test": "train-{03..03}.tar"}
    numbered = ShardImages(str(root), **parts, val_fraction=0.2, workers=0)
    assert numbered.spec.counts == {"train": 15, "val": 4, "test": 7}
    assert numbered.spec.classes == ("0", "1", "2")
    with pytest.raises(FileNotFoundError, match=r"train-04.tar is not there"):
        ShardImages(str(root), train="train-{00..04}.tar")
    with pytest.raises(FileNotFoundError, match=r"nothing-\*.tar is not there"):
        ShardImages(str(root), train="nothing-*.tar")


def test_a_run_on_shards_ends_as_one_on_the_folder_does(tmp_path):
    folder(tmp_path / "mine", {"a": 20, "b": 20})
    source = ("--data", "configs/data/image_folder.yaml", "--data.root", "mine")
    words = ("--to", "shards", "--out", "out", "--form", "as_is", "--per_shard", "9")
    made = launch("prepare", *words, *source, cwd=tmp_path)
    assert made.code == 0, made.everything
    figures = []
    for words in (source, ("--data", "configs/data/shards.yaml", "--data.root", "out")):
        ended = launch(
            "fit", "--config", "configs/pretrain/supervised.yaml", *words,
            "--data.image_size", "16", "--data.batch_size", "8", "--trainer.max_steps", "4",
            "--data.workers", "0",
            "--data.augmentation", "{crop_area: [0.2, 1.0], flip: true}", cwd=tmp_path,
        )  # fmt: skip
        assert ended.code == 0, ended.everything
        figures.append(json.loads((tmp_path / ended.run / "summary.json").read_text())["val/loss"])
    assert figures[0] == figures[1]


def test_a_persons_pictures_stay_turned_and_odd_kinds_are_kept(tmp_path):
    folder(tmp_path / "mine", {"a": 15, "b": 15}, width=50, height=40)
    exif = Image.Exif()
    exif[274] = 6
    for number, path in enumerate(sorted((tmp_path / "mine/a").iterdir())):
        if number % 2:
            path.write_bytes(saved(picture(number, 50, 40), exif=exif))
        else:
            path.unlink()
            path.with_suffix(".gif").write_bytes(saved(picture(number, 50, 40), "GIF"))
    data = ImageFolder(str(tmp_path / "mine"), image_size=16, workers=0)
    for form in ("as_is", "raw"):
        shard_images.open_archives.cache_clear()
        to_shards.write_shards(data, tmp_path / form, form, 100, 7, lambda *_: None)
        back = ShardImages(str(tmp_path / form), image_size=16, workers=0)
        for i in range(back.spec.counts["train"]):
            first, second = (
                decode(
                    d.open("train").source.read(int(d.open("train").places[i])),
                    d.apply_exif_and_alpha,
                )
                for d in (data, back)
            )
            assert torch.equal(first, second)


def test_an_unreadable_file_is_named_before_it_reaches_a_shard(tmp_path):
    data = ours(tmp_path)
    (tmp_path / "mine/a/0003.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a/0003.jpg cannot be read .* prepare --check lists"):
        to_shards.write_shards(data, tmp_path / "out", "as_is", 20, 7, lambda *_: None)


def written(tmp_path, **how) -> Path:
    folder(tmp_path / "mine", {"a": 40, "b": 40}, width=20, height=20)
    data = ImageFolder(str(tmp_path / "mine"))
    settings = {"form": "as_is", "short_side": 16, "per_shard": 10, "tell": lambda *_: None} | how
    return to_shards.write_shards(data, tmp_path / "shards", **settings)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda root: (root / "train-000002.tar").unlink(), "train has 47 samples .* says 57"),
        (
            lambda root: (root / "test-000000.tar").rename(root / "val-000001.tar"),
            "val has 17 samples .* says 7",
        ),
        (
            lambda root: [(root / "a").mkdir(), (root / "train-000000.tar").rename(root / "a/x"),
                          (root / "test-000000.tar").rename(root / "train-000000.tar"),
                          (root / "a/x").rename(root / "test-000000.tar")],
            "train-000000.tar/test-00000000 is no sample of train",
        ),
        (lambda root: (root / "dataset.json").write_text("{"), "dataset.json is damaged"),
        (lambda root: (root / "dataset.json").write_text("{}"), "is not finished"),
    ],
)  # fmt: skip
def test_shards_that_are_not_all_there_are_noticed(tmp_path, spoil, error):
    root = written(tmp_path)
    spoil(root)
    with pytest.raises(ValueError, match=error):
        ShardImages(str(root))


def test_a_bad_picture_neither_spoils_the_folder_nor_blocks_it(tmp_path, capsys):
    folder(tmp_path / "mine", {"a": 40, "b": 40}, width=20, height=20)
    bad = tmp_path / "mine/a/0003.jpg"
    kept = bad.read_bytes()
    bad.write_bytes(b"x")
    out = tmp_path / "shards"
    words = ("as_is", 16, 10, lambda *_: None)
    with pytest.raises(ValueError, match=r"a/0003\.jpg cannot be read"):
        to_shards.write_shards(ImageFolder(str(tmp_path / "mine")), out, *words)
    skipping = ImageFolder(str(tmp_path / "mine"), on_error="skip")
    to_shards.write_shards(skipping, out, *words)
    assert "skipped a/0003.jpg" in capsys.readouterr().err
    assert sum(ShardImages(str(out)).spec.counts.values()) == 79
    bad.write_bytes(kept)

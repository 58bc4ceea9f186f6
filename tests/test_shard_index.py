"""The index of a shard: no label guessed, no sample twice, and remade whenever it is in doubt."""

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pictures import picture, saved
from vit.data.shard_index import PARTS, array_digest
from vit.data.shards import Shards

IMAGE = saved(picture())


def archive(path: Path, *files: tuple[str, bytes]) -> Path:
    """A tar of these files, in their order, a name as often as it is given."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def labels(path: Path, kind: str, data: bytes) -> list[int]:
    found = Shards([archive(path, ("1.jpg", IMAGE), (f"1.{kind}", data))])
    return found.labels.tolist()


@pytest.mark.parametrize(
    ("kind", "data", "label"),
    [("cls", b"7", 7), ("cls", b" +7\n", 7), ("cls", b"-1", -1), ("cls", b"0" * 31 + b"7", 7),
     ("json", b'{"label": 7}', 7), ("json", b'{"label": -1}', -1), ("json", b'{"other": 7}', -1),
     ("json", '{"label": 7}'.encode("utf-16"), 7)],
)  # fmt: skip
def test_whole_numbers_are_labels(tmp_path, kind, data, label):
    assert labels(tmp_path / "x.tar", kind, data) == [label]


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        ("cls", b"0" * 32 + b"7", "has 33 bytes of cls, at most 32 are read"),
        ("cls", b"1.0", "no number for a label, but b'1.0'"),
        ("cls", b"1_0", "no number for a label"),
        ("cls", b"", "no number for a label"),
        ("cls", "٣".encode(), "no number for a label"),
        ("cls", b"-2", "but -2; needs a whole one from 0"),
        ("cls", b"9" * 30, "needs a whole one from 0"),
        ("cls", b"1000000", "needs a whole one from 0 to 999,999"),
        ("json", b'{"label": 1.9}', "no number for a label, but 1.9"),
        ("json", b'{"label": true}', "no number for a label, but True"),
        ("json", b'{"label": "3"}', "no number for a label, but '3'"),
        ("json", b'{"label": 1e400}', "no number for a label, but inf"),
        ("json", b'{"label": NaN}', "no number for a label, but nan"),
        ("json", b'{"label": null}', "no number for a label, but None"),
        ("json", b'{"label": -2}', "no number for a label, but -2"),
        ("json", b'{"label": 1' + b"0" * 30 + b"}", "no number for a label"),
        ("json", b'{"label": 1' + b"0" * 5000 + b"}", "no number for a label"),
        ("json", b'{"label": 1, "label": 2}', "label stands twice"),
        ("json", b"[1]", "no number for a label"),
        ("json", b"7", "no number for a label (no object)"),
        ("json", b"", "no number for a label"),
        ("json", b"\xff\xff", "no number for a label"),
        ("json", b"[" * 200_000, "no number for a label"),
        ("json", b" " * (1 << 20) + b"{}", "has 1,048,578 bytes of json, at most 1,048,576"),
    ],
)
def test_what_is_no_whole_number_is_no_label(tmp_path, kind, data, told):
    with pytest.raises(ValueError, match=r"x\.tar: sample 1 has ") as caught:
        labels(tmp_path / "x.tar", kind, data)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_what_macs_put_beside_each_file_is_passed_over(tmp_path):
    files = ("._1.jpg", "1.jpg", "a/._2.jpg", "a/2.jpg", "._3.jpg")
    source = Shards([archive(tmp_path / "x.tar", *((name, IMAGE) for name in files))])
    assert [source.name(i) for i in range(2)] == ["x.tar/1", "x.tar/a/2"]
    assert len(source) == 2


def test_a_class_of_a_gigabyte_is_not_read(tmp_path, monkeypatch):
    path = archive(tmp_path / "x.tar", ("1.jpg", IMAGE))
    size = 10**9
    info = tarfile.TarInfo("1.cls")
    info.size = size
    with path.open("r+b") as file:
        file.seek(512 + -(-len(IMAGE) // 512) * 512)
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(file.tell() + -(-size // 512) * 512 + 1024)
    read, most = os.pread, []
    monkeypatch.setattr(os, "pread", lambda *how: most.append(how[1]) or read(*how))
    with pytest.raises(ValueError, match=r"sample 1 has 1,000,000,000 bytes of cls"):
        Shards([path])
    assert max(most) < 1 << 25


@pytest.mark.parametrize(
    "files",
    [
        ("1.jpg", "1.cls", "2.jpg", "1.jpg"),
        ("1.jpg", "1.jpg"),
        ("1.jpg", "1.JPG"),
        ("1.jpg", "1.cls", "1.cls"),
        ("1.jpg", "2.jpg", "1.cls"),
        ("a/1.jpg", "a/2.jpg", "./a/1.jpg"),
    ],
)
def test_a_sample_that_stands_twice_is_refused(tmp_path, files):
    path = archive(tmp_path / "x.tar", *((f, b"1" if "cls" in f else IMAGE) for f in files))
    with pytest.raises(ValueError, match=r"x\.tar: .* of sample (a/)?1, which stands twice; write"):
        Shards([path])


# ---- kept and found again ---------------------------------------------------------------------


def kept(tmp_path) -> tuple[Path, Path, Shards]:
    """An archive, the file of its index, and what the index says."""
    files = [(f"{i}.{kind}", IMAGE if kind == "jpg" else b"%d" % i)
             for i in range(5) for kind in ("cls", "jpg")]  # fmt: skip
    path = archive(tmp_path / "x.tar", *files)
    return path, tmp_path / "index/x.tar.index.npz", Shards([path], tmp_path / "index")


def same(one: Shards, other: Shards) -> bool:
    names = [[source.name(i) for i in range(len(source))] for source in (one, other)]
    return (
        names[0] == names[1]
        and np.array_equal(one.places, other.places)
        and np.array_equal(one.labels, other.labels)
    )


def rewritten(file: Path, pack: bool = False, **parts) -> None:
    """The index with other parts in it, as numpy writes them."""
    with np.load(file) as old:
        new = {name: old[name] for name in old.files} | parts
    (np.savez_compressed if pack else np.savez)(
        file, **{name: part for name, part in new.items() if part is not None}
    )


def part(file: Path, name: str) -> np.ndarray:
    with np.load(file) as old:
        return old[name]


SPOILT = {
    "labels of another order": lambda f: rewritten(f, labels=part(f, "labels")[::-1]),
    "a label fewer": lambda f: rewritten(f, labels=part(f, "labels")[:-1]),
    "labels of eight bits": lambda f: rewritten(f, labels=part(f, "labels").astype(np.int8)),
    "a place fewer": lambda f: rewritten(f, places=part(f, "places")[:-1]),
    "places moved": lambda f: rewritten(f, places=part(f, "places") + 512),
    "names cut": lambda f: rewritten(f, text=part(f, "text")[:-1]),
    "other names": lambda f: rewritten(f, text=part(f, "text")[::-1]),
    "names that are no UTF-8": lambda f: rewritten(f, text=part(f, "text") | 0x80),
    "ends that run back": lambda f: rewritten(f, ends=part(f, "ends")[::-1]),
    "no labels": lambda f: rewritten(f, labels=None),
    "something more": lambda f: rewritten(f, more=np.zeros(3)),
    "packed": lambda f: rewritten(f, pack=True),
    "objects": lambda f: rewritten(f, labels=np.array([{}] * 5, dtype=object)),
    "empty": lambda f: f.write_bytes(b""),
    "no zip": lambda f: f.write_bytes(b"no zip" * 1000),
    "half": lambda f: f.write_bytes(f.read_bytes()[:700]),
    "a folder": lambda f: (f.unlink(), f.mkdir()),
}


FORGED = {
    "a label fewer": ("labels", lambda x: x[:-1]),
    "labels of eight bits": ("labels", lambda x: x.astype(np.int8)),
    "a label below -1": ("labels", lambda x: x - 2),
    "a place fewer": ("places", lambda x: x[:-1]),
    "places in one row": ("places", lambda x: x.ravel()),
    "a place before the archive": ("places", lambda x: x - 1024),
    "names cut": ("text", lambda x: x[:-1]),
    "names that are no UTF-8": ("text", lambda x: x | 0x80),
    "ends that run back": ("ends", lambda x: x[::-1]),
}


@pytest.mark.parametrize("how", FORGED)
def test_parts_that_do_not_belong_together_are_made_again_whatever_their_digest(tmp_path, how):
    path, file, first = kept(tmp_path)
    name, spoil = FORGED[how]
    parts = {key: part(file, key) for key in PARTS[:-1]}
    parts[name] = spoil(parts[name])
    rewritten(file, **parts, digest=array_digest(*parts.values()))
    assert same(Shards([path], tmp_path / "index"), first)


def test_an_index_with_a_damaged_description_is_made_again(tmp_path):
    path, file, first = kept(tmp_path)
    with zipfile.ZipFile(file) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    parts["labels.npy"] = parts["labels.npy"].replace(b"}", b"(")
    with zipfile.ZipFile(file, "w") as new:  # its checksum is right
        for name, data in parts.items():
            new.writestr(name, data)
    assert same(Shards([path], tmp_path / "index"), first)


@pytest.mark.parametrize("how", SPOILT)
def test_an_index_that_is_off_is_made_again(tmp_path, how):
    path, file, first = kept(tmp_path)
    SPOILT[how](file)
    assert same(Shards([path], tmp_path / "index"), first)
    if how != "a folder":  # nothing can be written there
        with zipfile.ZipFile(file) as made:
            assert {member.compress_type for member in made.infolist()} == {zipfile.ZIP_STORED}
        assert same(Shards([path], tmp_path / "index"), first)


def test_an_index_with_a_flipped_byte_anywhere_is_made_again(tmp_path):
    path, file, first = kept(tmp_path)
    whole = file.read_bytes()
    for at in range(0, len(whole), 7):
        data = bytearray(whole)
        data[at] ^= 0xFF
        file.write_bytes(data)
        assert same(Shards([path], tmp_path / "index"), first), at


def test_an_index_cut_off_anywhere_is_made_again(tmp_path):
    path, file, first = kept(tmp_path)
    whole = file.read_bytes()
    for length in range(0, len(whole), 50):
        file.write_bytes(whole[:length])
        assert same(Shards([path], tmp_path / "index"), first), length


def test_a_packed_index_is_not_unpacked(tmp_path, monkeypatch):
    path, file, first = kept(tmp_path)
    rewritten(file, pack=True, text=np.zeros(1 << 24, np.uint8))  # 16 kB, of 16 MB
    monkeypatch.setattr(np, "load", lambda *_, **how: pytest.fail("it was unpacked"))
    assert same(Shards([path], tmp_path / "index"), first)


def test_archives_of_one_name_in_two_folders_have_an_index_each(tmp_path):
    paths = []
    for number, place in enumerate("ab"):
        (tmp_path / place).mkdir()
        files = (("1.cls", b"%d" % number), ("1.jpg", saved(picture(number), "PPM")))
        paths.append(archive(tmp_path / place / "x.tar", *files))
        os.utime(paths[-1], ns=(1, 1))  # as copying tools leave them: of one size and one time
    for _ in range(2):
        assert Shards(paths, tmp_path / "index").labels.tolist() == [0, 1]
    assert len(list((tmp_path / "index").rglob("*.npz"))) == 2


def test_the_time_of_an_archive_may_lie_beyond_what_64_bits_count(tmp_path):
    path, _, first = kept(tmp_path)
    os.utime(path, (10**10, 10**10))  # the year 2286, in nanoseconds
    assert same(Shards([path], tmp_path / "index"), first)


def test_a_json_label_stands_beside_other_things(tmp_path):
    data = json.dumps({"caption": "ü", "size": [1, 2.5], "label": 3}).encode()
    assert labels(tmp_path / "x.tar", "json", data) == [3]


@pytest.mark.parametrize("what", ["x.tar", "link"])
def test_a_copy_of_a_shard_is_refused(tmp_path, what):
    files = [(f"{i}.{kind}", IMAGE if kind == "jpg" else b"1")
             for i in range(3) for kind in ("cls", "jpg")]  # fmt: skip
    first, other = archive(tmp_path / "a.tar", *files), tmp_path / "b.tar"
    if what == "link":
        other.symlink_to(first)
    else:
        other.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=r"b\.tar is a copy of .*a\.tar; remove one of them"):
        Shards([first, other])


def test_shards_that_begin_their_keys_anew_are_no_copies(tmp_path):
    def shard(name: str, number: int) -> Path:
        files = [(f"{i}.{kind}", saved(picture(number * 3 + i), "PPM") if kind == "ppm" else b"1")
                 for i in range(3) for kind in ("cls", "ppm")]  # fmt: skip
        return archive(tmp_path / name, *files)

    paths = [shard("a.tar", 0), shard("b.tar", 1)]  # of equal names, places and labels
    assert len(Shards(paths)) == 6
    with pytest.raises(ValueError, match=r"c\.tar is a copy of .*b\.tar"):
        Shards([*paths, shard("c.tar", 1)])


def test_empty_archives_are_no_copies(tmp_path):
    paths = [archive(tmp_path / "a.tar"), archive(tmp_path / "b.tar"),
             archive(tmp_path / "c.tar", ("1.jpg", IMAGE))]  # fmt: skip
    assert len(Shards(paths)) == 1
    with pytest.raises(ValueError, match="needs an archive"):
        Shards([])

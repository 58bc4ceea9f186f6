"""Tar archives that lie about themselves: refused by name, quickly, and in little memory."""

import os
import re
import signal
import tarfile
from pathlib import Path

import pytest

from vit.data.tar import read_members

END = b"\0" * 1024


@pytest.fixture(autouse=True)
def _no_hang():
    """What loops for ever fails instead."""

    def stop(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def head(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A header whose size is written as it is given."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124:136] = size.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\00000"
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def entry(name: bytes, data: bytes, kind: bytes = b"0") -> bytes:
    """A header and what follows it."""
    return head(name, f"{len(data):011o}".encode(), kind) + data + b"\0" * (-len(data) % 512)


def pax(*records: bytes) -> bytes:
    """A pax header of such lines, and a file of two blocks after it."""
    return entry(b"x", b"".join(records), b"x") + entry(b"a.jpg", b"1" * 1024)


def line(text: bytes) -> bytes:
    """A record with its length in front."""
    length = len(text) + 2
    while len(f"{length} ".encode() + text + b"\n") != length:
        length += 1
    return f"{length} ".encode() + text + b"\n"


def found(path: Path, data: bytes) -> list:
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(read_members(descriptor, str(path)))
    finally:
        os.close(descriptor)


def refused(path: Path, data: bytes) -> str:
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        found(path, data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("size", [b"-1536", b"-0", b"+5", b"1_0", b" 5", b"five", b"9" * 5000,
                                  "٣".encode(), b"0x10", b"1.0"])  # fmt: skip
def test_a_pax_size_that_is_no_whole_number_is_refused(tmp_path, size):
    assert "is no size" in refused(tmp_path / "x.tar", pax(line(b"size=" + size)) + END)


@pytest.mark.parametrize("size", [b"-0000000600", b"0o17", b"0000_0017", b"9", b"\xff" * 12,
                                  b"\x81" + b"\0" * 11])  # fmt: skip
def test_a_size_in_a_header_that_is_no_whole_number_is_refused(tmp_path, size):
    data = head(b"a.jpg", size) + b"1" * 512 + END
    assert "byte 0: " in (told := refused(tmp_path / "x.tar", data))
    assert "is no size" in told


@pytest.mark.parametrize(
    "record",
    [b"0 path=a\n", b"-9 path=a\n", b"999 path=a\n", b"path=a\n", b"x path=a\n", b"10 path\n12\n",
     b"9 path=a.jpg\n", b"\xb2 path=a\n", b"99999999999999999999 path=a\n", b" ", b"5"],
)  # fmt: skip
def test_a_pax_record_of_another_length_is_refused(tmp_path, record):
    told = refused(tmp_path / "x.tar", pax(line(b"mtime=1"), record) + END)
    assert "the pax header is damaged at its byte 11" in told


def test_a_pax_size_is_that_of_the_file_and_not_of_another_header(tmp_path):
    data = entry(b"x", line(b"size=3") + b"\0\0", b"x") + entry(b"L", b"long.jpg\0", b"L")
    data += head(b"a.jpg", b"00000000000") + b"123".ljust(512, b"\0") + END
    assert found(tmp_path / "x.tar", data) == [("long.jpg", 2560, 3)]


@pytest.mark.parametrize("kind", [b"x", b"L"])
def test_headers_beyond_a_mebibyte_are_not_read(tmp_path, kind, monkeypatch):
    data = entry(b"x", line(b"comment=" + b"a" * (1 << 20)), kind) + entry(b"a.jpg", b"") + END
    assert "byte 0: a header of 1,048," in refused(tmp_path / "x.tar", data)


def test_a_header_of_many_records_is_read_once(tmp_path):
    many = line(b"a=b") * 150_000  # nearly a mebibyte; copied at each record: 70 GB
    assert found(tmp_path / "x.tar", pax(many, line(b"path=c.jpg")) + END)[0].name == "c.jpg"


@pytest.mark.parametrize(
    ("name", "told"),
    [(b"path=caf\xe9.jpg", "is not UTF-8"), (b"path=a\0b.jpg", "is not UTF-8"),
     (b"GNU.sparse.major=1", "a sparse file"), (b"caf\xe9=1", None)],
)  # fmt: skip
def test_names_that_cannot_be_and_sparse_files_are_refused(tmp_path, name, told):
    data = pax(line(name)) + END
    if told:
        assert told in refused(tmp_path / "x.tar", data)
    else:
        assert found(tmp_path / "x.tar", data)[0].name == "a.jpg"


def test_what_follows_the_end_is_not_lost_without_a_word(tmp_path):
    one = entry(b"a.jpg", b"1") + END
    assert len(found(tmp_path / "x.tar", one + b"\0" * 10_000)) == 1
    assert "byte 1,024: the archive ends here" in refused(tmp_path / "x.tar", one + one)
    with (tmp_path / "y.tar").open("wb") as file:
        file.write(one)
        file.truncate(1 << 32)  # a download that was begun: empty to its end
    with (tmp_path / "y.tar").open("rb") as file, pytest.raises(ValueError, match=r"y.tar, byte"):
        list(read_members(file.fileno(), str(tmp_path / "y.tar")))


def test_folders_have_no_bytes_whatever_their_header_says(tmp_path):
    data = head(b"a/", b"00000001000", b"5") + entry(b"a/b.jpg", b"1") + END
    assert [member.name for member in found(tmp_path / "x.tar", data)] == ["a/b.jpg"]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_an_archive_cut_off_anywhere_before_its_end_is_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar", "w", format=kind) as tar:
        for name in ("a" * 60, "b" * 90 + "/" + "c" * 60):
            (tmp_path / "file").write_bytes(b"1" * 700)
            tar.add(tmp_path / "file", name + ".jpg")
    whole = (tmp_path / "x.tar").read_bytes()
    members = found(tmp_path / "y.tar", whole)
    last = members[-1].offset + 1024
    for length in range(0, len(whole), 100):
        if length < last + 512:
            assert "is cut off at byte" in refused(tmp_path / "y.tar", whole[:length])
        else:
            assert found(tmp_path / "y.tar", whole[:length]) == members


def test_any_flipped_byte_of_a_header_is_refused_or_changes_nothing_that_is_read(tmp_path):
    whole = entry(b"a.jpg", b"123") + END
    for at in range(512):
        data = bytearray(whole)
        data[at] ^= 0x11
        refused(tmp_path / "x.tar", bytes(data))

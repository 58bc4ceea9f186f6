"""DMLab: frames of a game, out of TFRecord files, without TensorFlow."""

from collections.abc import Iterator
from pathlib import Path

from vit.published.order import Key
from vit.published.raw import Raw, reading


class DmLab(Raw):
    """DMLab frames, 480x360, out of the published TFRecord files."""

    instructions = (
        "get dmlab.tar.gz (3,017,022,789 bytes, sha256 638b18fa...) from storage.googleapis.com/"
        "akolesnikov-dmlab-data and unpack it there"
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: dict[str, dict[str, tuple[Path, int, int, int]]] = {}

    def _index(self, split: str) -> dict[str, tuple[Path, int, int, int]]:
        """File, place and length of its record, and label of each key."""
        if split not in self.opened:
            files = sorted(self.root.rglob(f"dmlab-{split}.tfrecord*"))
            if not files:
                self.need(f"dmlab-{split}.tfrecord")
            self.opened[split] = {}
            for file in files:
                with reading(file, StopIteration):
                    for start, data in read_records(file):
                        features = example(data)
                        name = features["filename"].decode()
                        self.opened[split][name] = (file, start, len(data), features["label"])
        return self.opened[split]

    def keys(self, split: str) -> list[str]:
        return list(self._index(split))

    def label(self, split: str, key: Key) -> int:
        return self._index(split)[key][3]

    def image(self, split: str, key: Key) -> bytes:
        file, start, length, _ = self._index(split)[key]
        with file.open("rb") as stream:
            stream.seek(start)
            return example(stream.read(length))["image"]


def read_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Where each record of a TFRecord file begins, and its bytes; checksums are not read."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while head := file.read(12):  # length, and its checksum
            length = int.from_bytes(head[:8], "little")
            start = file.tell()
            if start + length + 4 > end:
                raise ValueError(f"it is cut off at byte {start}")
            yield start, file.read(length + 4)[:length]


def example(data: bytes) -> dict[str, bytes | int]:
    """First value of each feature of a tf.train.Example (a protocol buffer)."""
    firsts = {}
    for _, features in fields(data):
        for _, entry in fields(features):
            name, feature = (value for _, value in sorted(fields(entry)))
            (kind, values), *_ = fields(feature)
            first = next(fields(values))[1]
            if kind == 3:  # numbers: packed, or one by one
                first = varint(first, 0)[0] if isinstance(first, bytes) else first
            firsts[name.decode()] = first
    return firsts


def fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field: bytes, or a whole number."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        else:
            length, at = varint(data, at) if tag & 7 == 2 else ({1: 8, 5: 4}[tag & 7], at)
            value, at = data[at : at + length], at + length
        yield tag >> 3, value


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where the next begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at

"""Protocol Buffers' wire format, as far as reading a graph of ONNX needs it.

Format: https://protobuf.dev/programming-guides/encoding. A message is a row of fields; each has a
number and either an integer or a piece of the file. Pieces are given as places, not as bytes, so
that reading the structure of a large file touches little of it.
"""

from typing import NamedTuple

MOST_FIELDS = 100_000  # in one file; a graph of twelve blocks has 15,000
VARINT, FIXED64, PIECE, FIXED32 = 0, 1, 2, 5  # wire types; the two others were never in use


class Span(NamedTuple):
    """From the first byte of a piece to the one after its last."""

    start: int
    end: int


class Wire:
    """The bytes of a file, read field by field.

    Args:
        data: all of them.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.read = 0  # fields so far

    def message(self, span: Span) -> dict[int, list[int | Span]]:
        """The values of each field of a message, in the order of the file.

        Raises:
            ValueError: it ends within a field, or claims more than it has.
        """
        fields: dict[int, list[int | Span]] = {}
        at = span.start
        while at < span.end:
            self.read += 1
            if self.read > MOST_FIELDS:
                raise ValueError(f"it has more than {MOST_FIELDS:,} fields")
            key, at = self._varint(at, span.end)
            kind = key & 7
            if kind == VARINT:
                value, at = self._varint(at, span.end)
            elif kind in (PIECE, FIXED64, FIXED32):
                length = {FIXED64: 8, FIXED32: 4}.get(kind)
                if length is None:
                    length, at = self._varint(at, span.end)
                if length > span.end - at:
                    raise ValueError(f"a field at byte {at:,} claims {length:,} bytes")
                value, at = Span(at, at + length), at + length
            else:
                raise ValueError(f"a field at byte {at:,} has wire type {kind}")
            fields.setdefault(key >> 3, []).append(value)
        return fields

    def texts(self, values: list[int | Span]) -> list[str]:
        """Strings of a field."""
        return [str(self.data[span.start : span.end], "utf-8") for span in spans(values)]

    def integers(self, values: list[int | Span]) -> list[int]:
        """Integers of a field, whether they stand one by one or packed into pieces."""
        numbers = []
        for value in values:
            if isinstance(value, int):
                numbers.append(as_signed(value))
                continue
            at = value.start
            while at < value.end:
                self.read += 1
                if self.read > MOST_FIELDS:
                    raise ValueError(f"it has more than {MOST_FIELDS:,} fields")
                number, at = self._varint(at, value.end)
                numbers.append(as_signed(number))
        return numbers

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A number of seven bits a byte, lowest first, and the place after it."""
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError(f"it ends within a number at byte {at:,}")
            byte, at = self.data[at], at + 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (2**64 - 1), at
        raise ValueError(f"a number before byte {at:,} has no end")


def as_signed(value: int) -> int:
    """A 64-bit integer whose highest bit is its sign."""
    return value - 2**64 if value >= 2**63 else value


def spans(values: list[int | Span]) -> list[Span]:
    """Pieces of a field that must have no integers."""
    for value in values:
        if not isinstance(value, Span):
            raise ValueError("it has a number where a piece belongs")
    return values

"""An interrupted download of weights, seen from the file's ends, before anything is loaded."""

import re
import zipfile
from pathlib import Path

HEADER = 10**7  # bytes of a safetensors header that are looked at
END = re.compile(rb'"data_offsets"\s*:\s*\[\s*\d+\s*,\s*(\d{1,18})\s*\]')


def is_cut_off(path: Path) -> bool:
    """Does an archive lack its index, or a safetensors file bytes that its header speaks of?"""
    with path.open("rb") as file:
        start = file.read(9)
        if start[:4] == b"PK\x03\x04":
            return not zipfile.is_zipfile(path)
        if start[8:] != b"{":
            return False
        length, size = int.from_bytes(start[:8], "little"), path.stat().st_size
        if 8 + length > size:
            return True
        header = b"{" + file.read(min(length, HEADER) - 1)
    ends = [int(end) for end in END.findall(header)]
    return bool(ends) and 8 + length + max(ends) > size

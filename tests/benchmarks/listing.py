"""Seconds from nothing to a built ImageFolder of so many empty files in many folders.

    python tests/benchmarks/listing.py [--files 1000000] [--folders 1000]

A fourth and a half of the files are timed first, so that what grows faster than they do shows. The
files lie in a temporary folder and are removed at the end. Loading scikit-learn is not counted; the
names are still in the system's memory.
"""

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import sklearn.model_selection  # noqa: F401  slow to load

from vit.data import ImageFolder

SOURCES = (
    "src/vit/data/file_images.py", "src/vit/data/files.py", "src/vit/data/image_folder.py",
    "src/vit/data/listing.py", "src/vit/data/splits.py",
)  # fmt: skip
CLAIM = """from nothing to a built ImageFolder of 1,000,000 files: under 20 s, and twice as long \
for twice as many"""


def fill(root: Path, files: int, folders: int) -> Path:
    """Spread so many empty pictures over so many folders."""
    for number in range(folders):
        folder = root / f"class{number:04d}"
        folder.mkdir(parents=True)
        for file in range(number, files, folders):
            os.close(os.open(folder / f"{file:08d}.jpg", os.O_CREAT | os.O_WRONLY))
    return root


def seconds_to_build(root: Path) -> float:
    """The time that names, classes, splits and the spec take."""
    start = time.perf_counter()
    ImageFolder(str(root), workers=0)
    return time.perf_counter() - start


def main(argv: list[str] | None = None) -> None:
    """Time the smaller ones first, then print one line for the table."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--files", type=int, default=1_000_000, help="at least 40 a folder")
    parser.add_argument("--folders", type=int, default=1000)
    options = parser.parse_args(argv)
    texts = []
    with TemporaryDirectory() as scratch:
        for files in (options.files // 4, options.files // 2, options.files):
            seconds = seconds_to_build(fill(Path(scratch) / f"{files}", files, options.folders))
            texts.append(f"{files:,} files in {seconds:.1f} s")
            print(texts[-1], flush=True)
    print(json.dumps({"claim": CLAIM, "measured": ", ".join(texts)}))


if __name__ == "__main__":
    main()

"""What a data set is, in lines: images, their sizes, what is not used, the command to go on with.

The command names an image_size that fits: small pictures that are enlarged to 224 px cost fifty
times the time and show nothing more.
"""

import shlex
import statistics

from vit.data.base import Images
from vit.data.file_images import FileImages
from vit.published.decode import size_of

SPLITS = ("train", "val", "test")
FROM_SCRATCH = "configs/pretrain/supervised.yaml"
OWN = "configs/finetune/own_images.yaml"
MOST = 1000  # pictures that are measured, evenly chosen
USUAL, HALF = 224, 112  # px; weights are mostly released for 224, and both are whole patches
LARGE, SMALL = 168, 84  # px from which they fit: nothing is enlarged by more than a third
GRID = 8  # patches along a side of smaller pictures


def overview_of(data: Images, argv: list[str]) -> list[str]:
    """The lines.

    Args:
        data: prepared.
        argv: how the command line chose it, to be typed again.
    """
    lines = [f"{split}: {len(data.open(split)):,} images" for split in SPLITS]
    if not isinstance(data, FileImages):
        return [*lines, f"next: python train.py fit --config {FROM_SCRATCH} {quoted(argv)}"]
    sides, looked = short_sides(data)
    if sides:
        least, middle, most = min(sides), round(statistics.median(sides)), max(sides)
        lines.append(
            f"short sides: {least} px (smallest), {middle} (median), {most} (largest)"
            + (f", of {looked:,} pictures" if looked < sum(data.spec.counts.values()) else "")
        )
    unread = looked - len(sides)
    if unread:
        lines.append(f"unreadable: {unread:,} of {looked:,} looked at; --check names them")
    lines += [f"note: {note}" for note in data.notes]
    return [*lines, f"next: {next_fit(argv, round(statistics.median(sides or [USUAL])))}"]


def short_sides(data: FileImages) -> tuple[list[int], int]:
    """The shorter sides of readable pictures in pixels, and how many pictures were tried."""
    source = data.files()[0]
    places = sorted(place for split in data.split_indices().values() for place in split)
    chosen = places[:: max(len(places) // MOST, 1)][:MOST]
    sides = []
    for place in chosen:
        try:
            sides.append(min(size_of(source.read(place), data.apply_exif_and_alpha)))
        except (ValueError, OSError):
            continue
    return sides, len(chosen)


def fitting_size(side: int) -> tuple[int, int | None]:
    """The image_size for pictures whose short side is so long, and the patch size for small ones.

    Small pictures become 8 x 8 patches; for larger ones (None) the weights say.
    """
    if side >= SMALL:
        return USUAL if side >= LARGE else HALF, None
    size = max(side // GRID * GRID, GRID)
    return size, size // GRID


def next_fit(argv: list[str], side: int) -> str:
    """The command that trains on these pictures."""
    size, patch = fitting_size(side)
    sized = any(word.split("=")[0] == "--data.image_size" for word in argv)
    size_argv = "" if sized else f" --data.image_size {size}"
    if patch:
        return (
            f"python train.py fit --config {FROM_SCRATCH} {quoted(argv)}{size_argv} "
            f"--model.encoder.patch_size {patch}"
        )
    chosen = quoted(argv).replace("--data configs/data/image_folder.yaml ", "")  # the recipe has it
    return (
        f"python train.py fit --config {OWN} {chosen}{size_argv} "
        "--model.pretrained <run or released weights>"
    )


def quoted(argv: list[str]) -> str:
    """A command line's words as a shell takes them."""
    return " ".join(map(shlex.quote, argv))

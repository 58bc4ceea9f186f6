"""Is an export what it was made of? From encoded picture files to answers, loaded anew.

Two differences are taken. `network`: the same normalised pixels go through both networks, where a
format has no preprocessing inside. `files`: each side reads and shows the file by itself, ours by
`Preprocessing`, the export by what its users have: Pillow and onnxruntime, timm, or transformers.
Answers are probabilities, and differences are theirs; features are measured in their largest value.

B batch, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vit.export.decoding import decoder_of
from vit.export.subject import Subject, answers_of

NETWORK = (
    1e-4  # the most that answers may differ by for the same pixels: other kernels, other order
)
EXACT = 1e-3  # from files, where preprocessing is inside the export: decoders may differ a little
# from files, where another library shows the picture: pixels differ by a level here and there, and
# transformers cuts an odd middle one pixel aside; a wrong size or normalisation differs by more
THEIRS = 0.1
BATCH = 5

Ask = Callable[[Tensor], list[Tensor]]  # of a batch of pictures: one tensor a name


@dataclass(frozen=True)
class ExportDifference:
    """The largest differences between a model and its export.

    Args:
        files: from encoded files on; None: the library that opens the export is not installed.
        network: from the same pixels on; None: preprocessing is inside.
        batch: between a picture alone and in a batch; None: nobody asked.
        pictures: that were looked at.
    """

    files: float | None
    network: float | None
    batch: float | None
    pictures: int


def answer_from_files(subject: Subject, ask: Ask, pictures: list[Path]) -> list[list[Tensor]]:
    """What an export says of files that Pillow decodes; for each one tensor a name."""
    decode = decoder_of(subject.preprocess)
    return [
        [part[0] for part in ask(torch.from_numpy(decode(path).copy())[None])] for path in pictures
    ]


def answer_from_pixels(subject: Subject, ask: Ask, pictures: list[Path]) -> list[list[Tensor]]:
    """What an export's network says of the pixels that this project would show its own."""
    return [[part[0] for part in ask(subject.preprocess(path)[None])] for path in pictures]


def largest(ours: list[list[Tensor]], theirs: list[list[Tensor]], relative: bool) -> float:
    """The largest difference; of each name that both have.

    Args:
        ours: for each picture, a tensor a name.
        theirs: the same.
        relative: as a fraction of the largest value that ours has under that name.
    """
    worst = 0.0
    for number in range(len(theirs[0])):
        expected = torch.stack([answers[number] for answers in ours])
        given = torch.stack([answers[number] for answers in theirs])
        gap = (expected - given).abs().max() / (expected.abs().max() if relative else 1.0)
        worst = max(worst, float("inf") if gap.isnan() else float(gap))
    return worst


def batched(ask: Ask, relative: bool) -> float:
    """The largest difference between pictures alone and in a batch of five."""
    images = torch.randint(0, 256, (BATCH, 40, 56, 3), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    alone = [[part[0] for part in ask(image[None])] for image in images]
    together = ask(images)
    rows = [[part[number] for part in together] for number in range(BATCH)]
    return largest(alone, rows, relative)


def check_difference(difference: ExportDifference, bound: float, where: str) -> None:
    """Refuse an export that says something else.

    Raises:
        ValueError: with the difference.
    """
    for value, most, what in (
        (difference.files, bound, "of encoded files"),
        (difference.network, NETWORK, "of the same pixels"),
        (difference.batch, NETWORK, "of pictures in a batch"),
    ):
        if value is not None and not value <= most:
            raise ValueError(
                f"export: {where} answers {value:.2g} differently {what}, more than {most:g}; "
                "it was not kept"
            )


def unchanged(subject: Subject, pictures: list[Path], before: list[list[Tensor]]) -> bool:
    """Does the model itself still say the same, bit for bit, after it was exported?"""
    after = answers_of(subject, pictures)
    pairs = zip(before, after, strict=True)
    return all(torch.equal(a, b) for x, y in pairs for a, b in zip(x, y, strict=True))

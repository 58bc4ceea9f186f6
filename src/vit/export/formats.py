"""The formats: who writes each, and how it is opened again by those who will use it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vit.export.as_huggingface import HuggingFaceRunner, write_huggingface
from vit.export.as_onnx import OnnxRunner, write_onnx
from vit.export.as_safetensors import write_safetensors
from vit.export.as_timm import TimmRunner, write_timm
from vit.export.as_torch_export import TorchExportRunner, write_torch_export
from vit.export.decoding import decoder_of
from vit.export.extras import installed
from vit.export.subject import Subject, answers_of, subject_of
from vit.export.verify import (
    EXACT,
    THEIRS,
    ExportDifference,
    answer_from_files,
    answer_from_pixels,
    batched,
    largest,
)

Expected = list[list[Tensor]]


@dataclass(frozen=True)
class Format:
    """One kind of export.

    Args:
        write: writes its files into a folder and names them.
        measure: how far it is from the model: subject, folder, pictures, and what the model says.
        bound: the most that it may be, from encoded files on.
    """

    write: Callable[[Subject, Path], list[str]]
    measure: Callable[[Subject, Path, list[Path], Expected], ExportDifference]
    bound: float


def measure_graph(
    open_graph: Callable[[Path], Callable[[Tensor], list[Tensor]]],
) -> Callable[[Subject, Path, list[Path], Expected], ExportDifference]:
    """A format whose preprocessing is inside."""

    def measure(
        subject: Subject, folder: Path, pictures: list[Path], expected: Expected
    ) -> ExportDifference:
        ask, relative = open_graph(folder), not subject.classes
        theirs = answer_from_files(subject, ask, pictures)
        files = largest(expected, theirs, relative)
        return ExportDifference(files, None, batched(ask, relative), len(pictures))

    return measure


def measure_library(
    library: str, runner: type
) -> Callable[[Subject, Path, list[Path], Expected], ExportDifference]:
    """A format that another library opens and shows pictures to; without it nothing is known."""

    def measure(
        subject: Subject, folder: Path, pictures: list[Path], expected: Expected
    ) -> ExportDifference:
        if not installed(library):
            return ExportDifference(None, None, None, 0)
        ask, relative = runner(folder, subject), not subject.classes
        kept = [n for n, path in enumerate(pictures) if is_showable(subject, path)]
        pictures, expected = [pictures[n] for n in kept], [expected[n] for n in kept]
        same = answer_from_pixels(subject, ask.forward, pictures)
        theirs = answer_from_files(subject, ask, pictures)
        return ExportDifference(
            largest(expected, theirs, relative),
            largest(expected, same, relative),
            None,
            len(pictures),
        )

    return measure


def is_showable(subject: Subject, picture: Path) -> bool:
    """Is a picture no line in a letterbox? timm makes its short side zero pixels."""
    height, width = decoder_of(subject.preprocess)(picture).shape[:2]
    least = min(subject.preprocess.spec.image_size) * min(height, width) / max(height, width)
    return not subject.preprocess.letterbox or least >= 1


def measure_stored(
    subject: Subject, folder: Path, pictures: list[Path], expected: Expected
) -> ExportDifference:
    """A file that this project reads again, with the transform that stands in it."""
    theirs = answers_of(subject_of(folder), pictures)
    return ExportDifference(
        largest(expected, theirs, not subject.classes), None, None, len(pictures)
    )


FORMATS = {
    "safetensors": Format(write_safetensors, measure_stored, 0.0),
    "timm": Format(write_timm, measure_library("timm", TimmRunner), THEIRS),
    "huggingface": Format(
        write_huggingface, measure_library("transformers", HuggingFaceRunner), THEIRS
    ),
    "onnx": Format(write_onnx, measure_graph(OnnxRunner), EXACT),
    "torch-export": Format(write_torch_export, measure_graph(TorchExportRunner), EXACT),
}

"""torch.export: one .pt2 file from uint8 RGB of any size to probabilities, run by torch alone."""

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from vit.export.resizing import FromPixels
from vit.export.subject import Subject

EXAMPLE = (2, 37, 53, 3)  # a batch of pictures to trace with; every side but the last is free


def write_torch_export(subject: Subject, folder: Path) -> list[str]:
    """Write model.pt2; the names of the files."""
    program = traced(FromPixels(subject.preprocess, subject.answers))
    torch.export.save(program, str(folder / "model.pt2"))
    return ["model.pt2"]


def traced(model: FromPixels) -> ExportedProgram:
    """The model as a graph whose batch, height and width are left open."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own deprecations
            return torch.export.export(
                model,
                (torch.zeros(EXAMPLE, dtype=torch.uint8),),
                dynamic_shapes=({0: Dim("batch"), 1: Dim("height"), 2: Dim("width")},),
            )
    finally:
        logger.setLevel(level)


class TorchExportRunner:
    """A .pt2 file, loaded anew; from pixels to answers.

    Args:
        folder: of the export.
    """

    def __init__(self, folder: Path) -> None:
        self.model = torch.export.load(str(folder / "model.pt2")).module()

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Answers to uint8 pictures, B H W 3."""
        with torch.no_grad():
            return list(self.model(images))

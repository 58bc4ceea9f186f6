"""ONNX: one file from uint8 RGB of any size to probabilities, for onnxruntime and its kin."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from vit.export.as_torch_export import traced
from vit.export.extras import extra
from vit.export.resizing import FromPixels
from vit.export.subject import Subject

OPSET = 18  # the first that holds all of the exporter's graph; runtimes since 2023 read it


def write_onnx(subject: Subject, folder: Path) -> list[str]:
    """Write model.onnx; the names of the files.

    Its input `images` is uint8, B H W 3 with any B, H and W; its outputs have the names of
    `AnswerNetwork`.
    """
    extra("onnx", "onnxscript")
    program = traced(FromPixels(subject.preprocess, subject.answers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own deprecations
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=subject.answers.names,
            verbose=False,
        )
        written.save(str(folder / "model.onnx"), external_data=False)
    return ["model.onnx"]


class OnnxRunner:
    """An ONNX file, loaded anew by onnxruntime; from pixels to answers.

    Args:
        folder: of the export.
        name: of the file in it.
    """

    def __init__(self, folder: Path, name: str = "model.onnx") -> None:
        onnxruntime = extra("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(
            str(folder / name), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Answers to uint8 pictures, B H W 3."""
        return [torch.from_numpy(x) for x in self.session.run(None, {"images": images.numpy()})]

"""int8: onnxruntime's static quantisation, kept only where measured accuracy stays.

Weights and what linear layers read become 8-bit numbers with a scale (QDQ form; weights a scale a
row); preprocessing, attention and norms stay float. Scales come from calibration pictures. A ViT
may lose little or half of its accuracy, so it is measured on validation pictures, from files.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from vit.export.as_onnx import OnnxRunner
from vit.export.decoding import decoder_of
from vit.export.extras import extra
from vit.export.samples import Samples
from vit.export.subject import Subject

FLOAT, INT8 = "model.onnx", "model.int8.onnx"
LAYERS = ("MatMul", "Gemm", "Conv")  # quantised where they have weights


@dataclass(frozen=True)
class Quantised:
    """What quantising cost, and what it brought.

    Args:
        kept: was the loss below the margin?
        margin: the loss of accuracy that is accepted, as a fraction.
        pictures: of the validation split, that both were tested on.
        calibrated_on: pictures.
        accuracy: of model.onnx and of the 8-bit one.
        milliseconds: a picture, one after the other, decoding not counted; median; of both.
        megabytes: of both files.
    """

    kept: bool
    margin: float
    pictures: int
    calibrated_on: int
    accuracy: tuple[float, float]
    milliseconds: tuple[float, float]
    megabytes: tuple[float, float]

    def line(self) -> str:
        """What came of it, for people."""
        (before, after), (slow, fast) = self.accuracy, self.milliseconds
        change = (
            f"int8: accuracy {100 * before:.1f} % -> {100 * after:.1f} % on {self.pictures} "
            f"validation pictures, {as_time(slow)} -> {as_time(fast)} ms a picture, "
            f"{self.megabytes[0]:.1f} -> {self.megabytes[1]:.1f} MB"
        )
        if self.kept:
            return change
        lost = round((before - after) * self.pictures)
        return (
            f"{change}; not kept: it falls by {100 * (before - after):.1f} points ({lost} of "
            f"{self.pictures} pictures), and {100 * self.margin:.1f} or more are too many "
            "(--int8_margin)"
        )


def quantise(
    subject: Subject, folder: Path, calibration: list[Path], validation: Samples, margin: float
) -> Quantised:
    """Write model.int8.onnx beside model.onnx, measure both, and remove it where it is worse.

    Raises:
        ValueError: nothing can be measured: no classes, several labels, or no labelled picture.
    """
    labelled = [
        (path, label)
        for path, label in zip(validation.files, validation.labels, strict=True)
        if label >= 0
    ]
    if not subject.classes or subject.stored.spec.multi_label or not labelled:
        raise ValueError(
            "--int8: its accuracy must be measured, which needs a classifier of one label a "
            "picture and labelled validation pictures"
        )
    write_int8(folder, subject, calibration)
    scores = [measured(subject, folder, name, labelled) for name in (FLOAT, INT8)]
    (before, slow), (after, fast) = scores
    sizes = tuple((folder / name).stat().st_size / 1e6 for name in (FLOAT, INT8))
    kept = before - after < margin
    if not kept:
        (folder / INT8).unlink()
    return Quantised(
        kept, margin, len(labelled), len(calibration), (before, after), (slow, fast), sizes
    )


def write_int8(folder: Path, subject: Subject, calibration: list[Path]) -> None:
    """Quantise the linear layers of model.onnx by what they read on calibration pictures."""
    onnx, quantization = extra("onnx", "onnxruntime"), extra_quantization()
    graph = onnx.load(str(folder / FLOAT), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 1}
    layers = [
        node.name for node in graph.node if node.op_type in LAYERS and weights & set(node.input)
    ]

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.pictures = inputs_of(subject, calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.pictures, None)

    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it recommends a step that this graph does not need
    try:
        quantization.quantize_static(
            str(folder / FLOAT),
            str(folder / INT8),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            nodes_to_quantize=layers,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        logger.setLevel(level)


def extra_quantization() -> Any:
    """onnxruntime.quantization."""
    extra("onnxruntime")
    from onnxruntime import quantization

    return quantization


def inputs_of(subject: Subject, pictures: list[Path]) -> Iterator[dict[str, np.ndarray]]:
    """What the graph reads, picture by picture."""
    decode = decoder_of(subject.preprocess)
    for path in pictures:
        yield {"images": decode(path)[None]}


def measured(
    subject: Subject, folder: Path, name: str, labelled: list[tuple[Path, int]]
) -> tuple[float, float]:
    """Accuracy of a file, and its milliseconds a picture."""
    ask, decode = OnnxRunner(folder, name), decoder_of(subject.preprocess)
    right, times = 0, []
    for path, label in labelled:
        images = torch.from_numpy(decode(path).copy())[None]
        start = time.perf_counter()
        answer = ask(images)[0]
        times.append(1000 * (time.perf_counter() - start))
        right += int(answer[0].argmax()) == label
    return right / len(labelled), median(times)


def as_time(milliseconds: float) -> str:
    """Milliseconds to two digits at least: small networks take a fraction of one."""
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.2g}"


def as_plain(result: Quantised) -> dict[str, Any]:
    """The same in plain values, for export.json."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(result).items()}

"""example.py, which stands beside an ONNX file: thirty lines that need no torch."""

import inspect

from vit.export.decoding import decoder_of
from vit.export.subject import Subject

START = '''\
"""Ask model.onnx about pictures: python example.py a.jpg b.png (onnxruntime, Pillow, NumPy)."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image{more}


'''
CLASSES = """

here = Path(__file__).parent
session = onnxruntime.InferenceSession(here / "model.onnx")
classes = json.loads((here / "export.json").read_text(encoding="utf-8"))["classes"]
for path in sys.argv[1:]:
    chances = session.run(None, {"images": pixels(path)[None]})[0][0]
    print(path, *(f"{classes[i]} {chances[i]:.4f}" for i in chances.argsort()[::-1][:3]))
"""
FEATURES = """

session = onnxruntime.InferenceSession(Path(__file__).parent / "model.onnx")
for path in sys.argv[1:]:
    pooled = session.run(["pooled"], {"images": pixels(path)[None]})[0][0]
    print(path, *pooled)
"""


def example_for(subject: Subject) -> str:
    """The text of the file; its `pixels` is the function that the export was verified with."""
    decode = decoder_of(subject.preprocess)
    source = inspect.getsource(decode)
    source = source.replace(f"def {decode.__name__}(path: Path) -> np.ndarray", "def pixels(path)")
    start = START.format(more=", ImageOps" if "ImageOps" in source else "")
    if subject.classes:
        return start + source + CLASSES
    return start.replace("import json\n", "") + source + FEATURES

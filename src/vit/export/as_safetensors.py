"""safetensors: the weights by our names, which are timm's, and in the header all that rebuilds them.

`stored_encoder` reads the file again, whatever it is called: architecture, normalisation and
classes stand in its metadata under `vit`.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vit.data.preprocessing import Preprocessing
from vit.export.extras import extra
from vit.export.subject import Subject
from vit.models.weights import Stored, describe, load_into, stored_encoder
from vit.models.weights.exported import KEY

FILE = "model.safetensors"


def write_safetensors(subject: Subject, folder: Path) -> list[str]:
    """Write model.safetensors; the names of the files."""
    about = {
        "encoder": describe(subject.answers.encoder, subject.stored.spec),
        "preprocessing": presentation(subject.preprocess),
    }
    save_tensors(tensors_of(subject), folder / FILE, {KEY: json.dumps(about)})
    return [FILE]


def tensors_of(subject: Subject) -> dict[str, Tensor]:
    """The encoder's tensors by our names, and the classifier's as head.weight and head.bias."""
    head = {f"head.{name}": tensor for name, tensor in subject.stored.classifier.items()}
    return {**subject.answers.encoder.state_dict(), **head}


def save_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Write tensors and texts about them."""
    safetensors = extra("safetensors")
    from safetensors.torch import save_file  # after the line above, which says what is missing

    del safetensors
    # the standard's word for the names of the framework, which transformers asks for
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(whole, str(path), {"format": "pt", **about})


def presentation(preprocess: Preprocessing) -> dict[str, Any]:
    """How evaluation shows a picture, beside the spec."""
    names = [field.name for field in fields(preprocess) if field.name != "spec"]
    return {name: vars(preprocess)[name] for name in names}


class StoredRunner:
    """Weights that this project reads, loaded anew; from normalised pixels to answers.

    Args:
        folder: of the export.
    """

    def __init__(self, folder: Path) -> None:
        from vit.export.subject import Answers

        stored: Stored = stored_encoder(folder)
        encoder = stored.build(stored.spec)
        load_into(encoder, stored, stored.spec.channels)
        head = stored.classifier
        self.answers = Answers(
            encoder, head.get("weight"), head.get("bias"), stored.spec.multi_label
        )

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Answers to normalised pictures, B C h w."""
        with torch.no_grad():
            return list(self.answers(images))

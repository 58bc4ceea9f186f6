"""safetensors: weights by our names, which are timm's, and in the header all that rebuilds them.

`stored_encoder` reads the file again, whatever it is called: architecture, normalisation and
classes stand in its metadata under `vit`.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from vit.data.preprocessing import Preprocessing
from vit.export.extras import extra
from vit.export.provenance import provenance_of
from vit.export.subject import Subject
from vit.models.weights import describe
from vit.models.weights.exported import KEY

FILE = "model.safetensors"


def write_safetensors(subject: Subject, folder: Path) -> list[str]:
    """Write model.safetensors; the names of the files."""
    about = {
        "encoder": describe(subject.answers.encoder, subject.stored.spec),
        "preprocessing": presentation(subject.preprocess),
        "card": asdict(provenance_of(subject).card),
    }
    save_tensors(tensors_of(subject), folder / FILE, {KEY: json.dumps(about)})
    return [FILE]


def tensors_of(subject: Subject) -> dict[str, Tensor]:
    """The encoder's tensors by our names, and the classifier's as head.weight and head.bias."""
    head = {f"head.{name}": tensor for name, tensor in subject.stored.classifier.items()}
    return {**subject.answers.encoder.state_dict(), **head}


def save_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Write tensors and texts about them."""
    extra("safetensors")
    from safetensors.torch import save_file

    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(whole, str(path), {"format": "pt", **about})  # transformers asks for that word
    path.chmod(0o644)  # the package lets nobody else read it


def presentation(preprocess: Preprocessing) -> dict[str, Any]:
    """How evaluation shows a picture, beside the spec."""
    names = [field.name for field in fields(preprocess) if field.name != "spec"]
    return {name: vars(preprocess)[name] for name in names}

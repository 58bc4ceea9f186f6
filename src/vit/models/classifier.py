"""Trained classifiers that others learn from: a run of this project, or one of torchvision's.

B batch, C channels, H W pixels, L classes.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import DataSpec
from vit.models.lineage import Link
from vit.models.torch_files import check_finite, hash_of, read_torch
from vit.models.weights import load_into, stored_encoder

TORCHVISION = "torchvision/"  # begins the name of a classifier that torchvision has
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # what torchvision's are trained with


class Classifier(nn.Module):
    """Logits from pixels in [0, 1], with the network's own normalisation; it never learns.

    Args:
        network: from normalised images to B L.
        mean: of its training data, per channel.
        std: of its training data, per channel.
        lineage: the trainings behind it, as far as they are known.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        lineage: tuple[Link, ...] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.lineage = lineage
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B L"]:
        """Logits, never in training mode and never with a gradient."""
        with torch.no_grad():
            return self.network((pixels - self.mean) / self.std)

    def train(self, mode: bool = True) -> "Classifier":
        """Stay in eval mode whatever the parent does."""
        return super().train(False)

    def key(self) -> str:
        """Sixteen hexadecimal digits that change with any weight."""
        return hash_of(self, 16)


class WithHead(nn.Module):
    """An encoder and the linear layer that was trained on it."""

    def __init__(self, encoder: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, images: Tensor) -> Tensor:
        return F.linear(self.encoder(images).pooled, self.weight, self.bias)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits from normalised images, as objectives give them."""
        return {"logits": self(images)}


def classifier(source: str, weights: str | None, spec: DataSpec) -> Classifier:
    """Build a trained classifier for these classes.

    Args:
        source: run folder or checkpoint of a supervised run, or torchvision/<name>.
        weights: of torchvision's: a file with a state_dict, or a name such as IMAGENET1K_V2, which
            is downloaded.
        spec: the data whose classes it must know.

    Raises:
        ValueError: it knows other classes, or holds no classifier.
        FileNotFoundError: there is no such file.
    """
    if source.startswith(TORCHVISION):
        return torchvision_classifier(source.removeprefix(TORCHVISION), weights, spec)
    if weights:
        raise ValueError(
            "teacher: weights belong to torchvision/<name>; a run brings its own, leave them out"
        )
    stored = stored_encoder(source)
    if not {"weight", "bias"} <= stored.classifier.keys():
        raise ValueError(f"teacher: {stored.path} holds no classifier; take a supervised run")
    if stored.spec.classes != spec.classes:
        raise ValueError(
            f"teacher: {stored.path} knows other classes ({', '.join(stored.spec.classes[:3])}, "
            f"...) than the data ({', '.join(spec.classes[:3])}, ...)"
        )
    encoder = stored.build(spec)
    load_into(encoder, stored, spec.channels)
    network = WithHead(encoder, stored.classifier["weight"], stored.classifier["bias"])
    return Classifier(network, stored.spec.mean, stored.spec.std, stored.lineage)


def torchvision_classifier(name: str, weights: str | None, spec: DataSpec) -> Classifier:
    """A classifier of torchvision.models with as many outputs as the data has classes."""
    from torchvision import models  # slow to load, and only needed here

    if name not in models.list_models(module=models):
        raise ValueError(f"teacher: torchvision has no classifier {name!r}")
    if weights is None:
        raise ValueError(f"teacher: torchvision/{name} needs weights: a file, or IMAGENET1K_V1")
    settings: dict[str, Any] = {}
    if Path(weights).suffix in (".pt", ".pth"):
        if not Path(weights).is_file():
            raise FileNotFoundError(f"teacher: no such file: {weights}")
        state = read_torch(Path(weights), "teacher")
        check_finite(state, Path(weights))
        settings["num_classes"] = len(spec.classes)
        network = models.get_model(name, weights=None, **settings)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(
                f"teacher: {weights} does not fit torchvision/{name} with {len(spec.classes)} "
                f"classes ({str(error).splitlines()[1].strip()[:120]})"
            ) from error
        return Classifier(network, *IMAGENET)
    offered = models.get_model_weights(name)
    if weights not in offered.__members__:
        raise ValueError(
            f"teacher: torchvision/{name} has no weights {weights!r}; there are "
            f"{', '.join(offered.__members__)}, or a file that ends in .pt or .pth"
        )
    entry = offered[weights]
    if len(entry.meta["categories"]) != len(spec.classes):
        raise ValueError(
            f"teacher: {entry} knows {len(entry.meta['categories'])} classes, the data has "
            f"{len(spec.classes)}"
        )
    transforms, network = entry.transforms(), models.get_model(name, weights=None)
    # get_model(weights=...) would unpickle whatever lies in the download folder
    state = entry.get_state_dict(progress=False, check_hash=True, weights_only=True)
    network.load_state_dict(state)
    return Classifier(network, tuple(transforms.mean), tuple(transforms.std))

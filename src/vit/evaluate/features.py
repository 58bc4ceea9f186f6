"""Frozen features of a whole split, in order, on any number of ranks.

M images of the split, N patches, D width.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import ViewSpec
from vit.collectives import gather_rows
from vit.data.base import Images, Split
from vit.evaluate.base import FrozenFeatures
from vit.models.base import Features
from vit.module import ViTModule

LARGEST = 32  # side of raw pixels that are judged: 50,000 photographs of 224 px would be 30 GB


@dataclass
class OneProcess:
    """What a data module asks its Trainer, where there is none."""

    lightning_module: ViTModule
    world_size: int = 1
    global_rank: int = 0


@torch.no_grad()
def frozen_features(
    module: ViTModule,
    data: Images,
    encoder: nn.Module,
    split: Split,
    tokens: bool = False,
    most: int | None = None,
) -> FrozenFeatures:
    """What an encoder makes of a split, never augmented; every rank must call it.

    Args:
        module: whose normalisation and device are used.
        data: attached to a Trainer, or to OneProcess.
        encoder: in any mode; its modes are put back.
        split: which images.
        tokens: the patch tokens too, where there are some.
        most: only so many images, evenly spread over the split.
    """
    modes = [(part, part.training) for part in encoder.modules()]  # frozen parts differ
    encoder.eval()
    parts: dict[str, list[Tensor]] = {}
    for batch in data.evaluation_loader(split, most=most):
        shown = data.show(batch.to(module.device), (ViewSpec(),), module.spec, training=False)
        features = encoder(shown.images)
        rows = {"labels": shown.labels, "index": shown.index, **poolings(encoder, features)}
        if tokens and features.tokens is not None:
            rows["tokens"] = features.tokens.half()
        for name, values in rows.items():
            # a copy: the pooled features are a view that would keep all tokens in memory
            parts.setdefault(name, []).append(values.clone().cpu() if tokens else values.clone())
    for part, training in modes:
        part.training = training
    whole = {name: gather_rows(torch.cat(values)) for name, values in parts.items()}
    index = whole.pop("index")
    order = index.argsort()[(index < 0).sum() :]  # padding sorts to the front
    whole = {name: values[order] for name, values in whole.items()}
    labels, patches = whole.pop("labels"), whole.pop("tokens", None)
    return FrozenFeatures(whole, labels, patches)


def poolings(encoder: nn.Module, features: Features) -> dict[str, Tensor]:
    """One vector an image, in every way that this encoder offers; its own comes first."""
    own = encoder.settings.get("pool", "pooled")
    found = {own: features.pooled.float()}
    if features.cls is not None:
        found.setdefault("cls", features.cls.float())
    if features.tokens is not None:
        found.setdefault("mean", features.tokens.float().mean(1))
    return found


class Pixels(nn.Module):
    """The control that learns nothing: the images themselves, large ones shrunk."""

    settings: ClassVar[dict[str, Any]] = {"pool": "pixels"}

    def forward(self, images: Tensor) -> Features:
        """All their numbers in one row each."""
        if max(images.shape[-2:]) > LARGEST:
            images = F.interpolate(images, (LARGEST, LARGEST), mode="bilinear", antialias=True)
        return Features(images.flatten(1))


def pixels(
    module: ViTModule, data: Images, split: Split, most: int | None = None
) -> FrozenFeatures:
    """The images themselves, as evaluation shows them; every rank must call it."""
    found = frozen_features(module, data, Pixels(), split, most=most)
    return FrozenFeatures(
        {name: rows.cpu() for name, rows in found.pooled.items()}, found.labels.cpu()
    )

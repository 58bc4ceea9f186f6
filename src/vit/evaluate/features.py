"""Frozen features of a whole split, in order, on any number of ranks.

M images of the split, N patches, D width.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import LoaderContext
from vit.collectives import gather_rows
from vit.data.base import Images, Split
from vit.evaluate.base import FrozenFeatures
from vit.models.base import Features

LARGEST = 32  # side of raw pixels that are classified: 50,000 photographs of 224 px would be 30 GB


def frozen_features(
    encoder: nn.Module,
    data: Images,
    split: Split,
    context: LoaderContext,
    tokens: bool = False,
    most: int | None = None,
) -> FrozenFeatures:
    """What an encoder makes of a split, never augmented; every rank must call it.

    Args:
        encoder: in any mode; its modes are put back.
        data: prepared.
        split: which images.
        context: its ranks share the work; its device and normalisation are used, its views not.
        tokens: the patch tokens too, where there are some.
        most: only so many images, evenly spread over the split.
    """
    return numbered_features(encoder, data, split, context, tokens, most)[0]


@torch.no_grad()
def numbered_features(
    encoder: nn.Module,
    data: Images,
    split: Split,
    context: LoaderContext,
    tokens: bool = False,
    most: int | None = None,
) -> tuple[FrozenFeatures, Int[Tensor, " M"]]:
    """The same, and each image's number in the split: one that cannot be read is left out.

    Args:
        encoder: in any mode; its modes are put back.
        data: prepared.
        split: which images.
        context: its ranks share the work; its device and normalisation are used, its views not.
        tokens: the patch tokens too, where there are some.
        most: only so many images, evenly spread over the split.
    """
    modes = [(part, part.training) for part in encoder.modules()]  # frozen layers differ
    encoder.eval()
    context = context.whole_images()
    parts: dict[str, list[Tensor]] = {}
    for batch in data.evaluation_loader(split, context, most):
        shown = data.show(batch.to(context.device), context, training=False)
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
    return FrozenFeatures(whole, labels, patches), index[order].cpu()


def poolings(encoder: nn.Module, features: Features) -> dict[str, Tensor]:
    """One vector per image, in every way that this encoder offers; its own comes first."""
    pool = encoder.settings.get("pool", "pooled")
    vectors = {pool: features.pooled.float()}
    if features.cls is not None:
        vectors.setdefault("cls", features.cls.float())
    if features.tokens is not None:
        vectors.setdefault("mean", features.tokens.float().mean(1))
    return vectors


class Pixels(nn.Module):
    """The control that learns nothing: the images themselves, large ones shrunk."""

    settings: ClassVar[dict[str, Any]] = {"pool": "pixels"}

    def forward(self, images: Tensor) -> Features:
        """One row per image, of all its numbers."""
        if max(images.shape[-2:]) > LARGEST:
            images = F.interpolate(images, (LARGEST, LARGEST), mode="bilinear", antialias=True)
        return Features(images.flatten(1))


def raw_pixels(
    data: Images, split: Split, context: LoaderContext, most: int | None = None
) -> FrozenFeatures:
    """The images themselves, as evaluation shows them, on the CPU; every rank must call it."""
    rows = frozen_features(Pixels(), data, split, context, most=most)
    pooled = {name: values.cpu() for name, values in rows.pooled.items()}
    return FrozenFeatures(pooled, rows.labels.cpu())

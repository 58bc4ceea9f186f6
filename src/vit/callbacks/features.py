"""Frozen features of a whole split, in order, on any number of ranks.

M images of the split, N patches, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vit.batch import ViewSpec
from vit.data.base import Images, Split
from vit.evaluate.base import Frozen
from vit.models.base import Encoder, Features
from vit.module import ViTModule
from vit.ranks import gather_rows

LARGEST = 32  # side of raw pixels that are judged: 50,000 photographs of 224 px would be 30 GB


@dataclass
class OneProcess:
    """What a data module asks its Trainer, where there is none."""

    lightning_module: ViTModule
    world_size: int = 1
    global_rank: int = 0


@torch.no_grad()
def frozen(
    module: ViTModule, data: Images, encoder: Encoder, split: Split, tokens: bool = False
) -> Frozen:
    """What an encoder makes of a split, never augmented; every rank must call it.

    Args:
        module: whose normalisation and device are used.
        data: attached to a Trainer, or to OneProcess.
        encoder: in any mode; its modes are put back.
        split: which images.
        tokens: the patch tokens too, where there are some.
    """
    modes = [(part, part.training) for part in encoder.modules()]  # frozen parts differ
    encoder.eval()
    parts: dict[str, list[Tensor]] = {}
    for batch in data.evaluation_loader(split):
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
    return Frozen(whole, labels, patches)


def poolings(encoder: Encoder, features: Features) -> dict[str, Tensor]:
    """One vector an image, in every way that this encoder offers; its own comes first."""
    own = encoder.settings.get("pool", "pooled")
    found = {own: features.pooled.float()}
    if features.cls is not None:
        found.setdefault("cls", features.cls.float())
    if features.tokens is not None:
        found.setdefault("mean", features.tokens.float().mean(1))
    return found


@torch.no_grad()
def pixels(module: ViTModule, data: Images, split: Split) -> Frozen:
    """The images themselves, as evaluation shows them, large ones shrunk; in one process."""
    rows, labels = [], []
    for batch in data.evaluation_loader(split):
        shown = data.show(batch.to(module.device), (ViewSpec(),), module.spec, training=False)
        images = shown.images[shown.valid].float()
        if max(images.shape[-2:]) > LARGEST:
            images = F.interpolate(images, (LARGEST, LARGEST), mode="bilinear", antialias=True)
        rows.append(images.flatten(1).cpu())
        labels.append(shown.labels[shown.valid].cpu())
    return Frozen({"pixels": torch.cat(rows)}, torch.cat(labels))

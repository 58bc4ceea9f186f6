"""Frozen features of a whole split, in order, on any number of ranks.

M images of the split, D width.
"""

import torch
from jaxtyping import Float, Int
from lightning.pytorch import Trainer
from torch import Tensor

from vit.batch import ViewSpec
from vit.data.base import Split
from vit.models.base import Encoder
from vit.ranks import gather_rows


@torch.no_grad()
def features_of(
    trainer: Trainer, encoder: Encoder, split: Split
) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
    """Pooled features and labels of a split, never augmented; every rank must call it."""
    module, data = trainer.lightning_module, trainer.datamodule
    rows, labels, places = [], [], []
    modes = [(part, part.training) for part in encoder.modules()]  # frozen parts differ
    encoder.eval()
    for batch in data.evaluation_loader(split):
        shown = data.show(batch.to(module.device), (ViewSpec(),), module.spec, training=False)
        # a copy: the pooled features are a view that would keep all tokens in memory
        rows.append(encoder(shown.images).pooled.float().clone())
        labels.append(shown.labels)
        places.append(shown.index)
    for part, training in modes:
        part.training = training
    rows, labels, places = (gather_rows(torch.cat(part)) for part in (rows, labels, places))
    order = places.argsort()[(places < 0).sum() :]  # padding sorts to the front
    return rows[order], labels[order]

"""Checkpoints say what their weights have learned from: a study looks for test images there."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from vit.data.content import image_hashes
from vit.data.partly_labelled import partly_labelled
from vit.models.lineage import Link
from vit.module import ViTModule

HASHED = 50_000  # images whose hashes are kept: 400 kB; of more, one in so many


class KeepLineage(Callback):
    """Add the lineage of the weights to each checkpoint, this training in front.

    Hashes are made once, for the first checkpoint.
    """

    def __init__(self) -> None:
        self.link: Link | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: ViTModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write plain values and a tensor of hashes."""
        if self.link is None:
            self.link = link_of(trainer, pl_module)
        links = [self.link, *pl_module.lineage, *pl_module.objective.lineage]
        checkpoint["lineage"] = [link._asdict() | {"classes": list(link.classes)} for link in links]


def link_of(trainer: Trainer, module: ViTModule) -> Link:
    """What the training of a module learns from."""
    data = trainer.datamodule
    dataset = partly_labelled(data) if module.objective.unlabelled else data.open("train")
    every = -(-len(dataset) // HASHED)
    return Link(
        config=module.config,
        uses_labels=module.objective.uses_labels,
        classes=data.spec.classes,
        content=data.content("train"),
        hashes=image_hashes(dataset, every),
        every=every,
    )

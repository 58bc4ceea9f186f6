"""How released weights came to be: by whom, on what, at which cost, under which licence."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import yaml

from vit.models.lineage import Link
from vit.models.prefixes import config_value

KEY = "released"  # of the card in a link's config


@dataclass(frozen=True)
class Card:
    """How released weights came to be; "" and None where nobody said.

    Args:
        name: as their publisher calls them.
        objective: what they were trained by, in a few words (labels; masked pixels).
        uses_labels: did that read labels?
        data: what they were trained on.
        images: pictures in it.
        labels: of them, those with a label that was read.
        flops: of the training, where it was published or can be worked out.
        licence: SPDX identifier or the publisher's words.
        source: where they come from.
        classes: names of the classes that were learned; empty where they are not known.
    """

    name: str
    objective: str = ""
    uses_labels: bool | None = None
    data: str = ""
    images: int | None = None
    labels: int | None = None
    flops: float | None = None
    licence: str = ""
    source: str = ""
    classes: tuple[str, ...] = ()

    def link(self) -> Link:
        """The training behind such weights, as checkpoints carry it on."""
        values = {k: v for k, v in asdict(self).items() if k != "classes"}
        return Link(
            config=yaml.safe_dump({KEY: values}, sort_keys=False),
            uses_labels=self.uses_labels is not False,
            classes=self.classes,
            content=None,
            hashes=torch.empty(0, dtype=torch.int64),
            every=1,
        )


def card_of(link: Link) -> Card | None:
    """The card of a link that released weights left; None where it is a training of this project.

    Raises:
        ValueError: it is damaged.
    """
    values: Any = config_value(link.config, KEY)
    if not isinstance(values, dict):
        return None
    try:
        return Card(**values, classes=link.classes)
    except TypeError as error:
        raise ValueError(f"lineage: a card is damaged ({error})") from error

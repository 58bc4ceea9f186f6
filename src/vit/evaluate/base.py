"""What a protocol is given, what it returns, and how it is identified.

A protocol is one file here with one function of its name, `name(task: Task, ...) -> Result`: it
knows features and labels and nothing else. A figure without its protocol says little, and tables
must not mix them: every setting that can move the figure is part of the id, so that changing a
default changes the id.

M images, N patches, D width.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from vit.digest import digest


@dataclass(frozen=True)
class FrozenFeatures:
    """What a frozen encoder made of the images of one split, on the CPU.

    Args:
        pooled: M D each, by pooling; the first is the encoder's own.
        labels: M.
        tokens: M N D, one vector per patch, float16 (they are many); None without patches.
    """

    pooled: dict[str, Float[Tensor, "M _d"]]
    labels: Int[Tensor, " M"]
    tokens: Float[Tensor, "M _n _d"] | None = None

    @property
    def features(self) -> Float[Tensor, "M _d"]:
        """The features in the encoder's own pooling."""
        return next(iter(self.pooled.values()))

    def labelled(self) -> "FrozenFeatures":
        """The images that have a label."""
        has_label = self.labels >= 0
        return self if has_label.all() else self[has_label]

    def __getitem__(self, rows: Any) -> "FrozenFeatures":
        """The features of some of the images."""
        pooled = {name: values[rows] for name, values in self.pooled.items()}
        tokens = None if self.tokens is None else self.tokens[rows]
        return FrozenFeatures(pooled, self.labels[rows], tokens)


class Task(NamedTuple):
    """Learn from `train`, choose on `choice`, classify `queries`.

    Args:
        train: labelled images to learn from.
        choice: labelled images for whatever is chosen; never the queries.
        queries: images to classify.
        classes: how many there are; labels are 0 to classes - 1.
        seed: for what is drawn.
    """

    train: FrozenFeatures
    choice: FrozenFeatures
    queries: FrozenFeatures
    classes: int
    seed: int = 0


@dataclass
class Result:
    """One protocol's outcome.

    Args:
        metrics: fractions in [0, 1] by name; `accuracy` first.
        per_image: M values by name, correctness for instance, in the split's order.
        protocol: the settings it was made with; `name` is the file's.
        notes: what was chosen, in plain values; not part of the id.
    """

    metrics: dict[str, float]
    per_image: dict[str, Tensor]
    protocol: dict[str, Any]
    notes: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """Name and a hash of the settings."""
        return f"{self.protocol['name']}-{digest(self.protocol)}"

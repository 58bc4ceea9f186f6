"""Splits that belong to the data, not to a run: stratified, nested, the same for everybody."""

import math
from collections import Counter
from functools import cache
from typing import Literal

import numpy as np
import torch

from vit.randomness import keys, uniform

UNEVEN = 1.5  # the largest class against the smallest, from where on accuracy hides the small ones


def carve(labels: list[int], held_out: int | float, draw: int = 0) -> tuple[list[int], list[int]]:
    """Indices of training and validation: stratified, the same whatever a run's seed.

    Args:
        labels: of the published training split, in its order.
        held_out: images, or fraction of them, that become validation.
        draw: which ones.
    """
    from sklearn.model_selection import train_test_split  # slow to load, and only needed here

    classes, fraction = len(set(labels)), held_out
    count = math.ceil(fraction * len(labels)) if isinstance(fraction, float) else fraction
    if min(count, len(labels) - count) < classes:
        raise ValueError(
            f"data: {count} images to validate on, out of {len(labels)}, cannot hold all "
            f"{classes} classes; change data.val_fraction, or give validation images"
        )
    train, val = train_test_split(
        range(len(labels)), test_size=held_out, stratify=labels, random_state=draw
    )
    return balanced(train, labels), sorted(val)


@cache
def hold_out(labels: tuple[int, ...], count: int, draw: int) -> tuple[list[int], list[int]]:
    """Another part of a published training split than its own hold-out, both in its order.

    Args:
        labels: of the whole split.
        count: images that become validation; stratified where the classes are large enough.
        draw: which ones.
    """
    from sklearn.model_selection import train_test_split  # slow to load, and only needed here

    sizes = Counter(labels)
    even = min(sizes.values()) > 1 and len(sizes) <= min(count, len(labels) - count)
    train, val = train_test_split(
        range(len(labels)), test_size=count, stratify=labels if even else None, random_state=draw
    )
    return sorted(train), sorted(val)


def balanced(indices: list[int], labels: list[int]) -> list[int]:
    """Reorder so that every prefix holds the classes as evenly as it can.

    The first 1,000 are thus a subset of the first 10,000: few-label studies are nested.
    """
    generator = np.random.default_rng(0)
    ranked = []
    for label, members in by_label(indices, labels).items():
        mixed = generator.permutation(members)
        ranked += [(position, label, int(index)) for position, index in enumerate(mixed)]
    return [index for _, _, index in sorted(ranked)]


def by_label(indices: list[int], labels: list[int]) -> dict[int, list[int]]:
    """The members of each class, classes rising, in one pass."""
    members: dict[int, list[int]] = {}
    for index in indices:
        members.setdefault(labels[index], []).append(index)
    return dict(sorted(members.items()))


def few(indices: list[int], labels: list[int], per_class: int, draw: int) -> list[int]:
    """The first `per_class` images of each class by the draw, in the split's order.

    Draws differ by their number alone, whatever the run's seed; within one draw a smaller choice
    is part of every larger one.

    Args:
        indices: the split, as numbers into the source.
        labels: of the whole source.
        per_class: images of each class.
        draw: number of the draw.

    Raises:
        ValueError: a class has fewer images.
    """
    if per_class < 1 or draw < 0:
        raise ValueError(
            "data: labels_per_class must be at least 1 and label_draw at least 0, "
            f"got {per_class} and {draw}"
        )
    drawn = uniform(keys(draw, None, torch.tensor(indices), "labels"), 1)[:, 0].tolist()
    uniforms, chosen = dict(zip(indices, drawn, strict=True)), set()
    for label, members in by_label(indices, labels).items():
        if len(members) < per_class:
            raise ValueError(
                f"data: labels_per_class is {per_class}, class {label} has {len(members)} "
                "training images; ask for fewer"
            )
        chosen |= set(sorted(members, key=lambda i: (uniforms[i], i))[:per_class])
    return [i for i in indices if i in chosen]


def uneven(labels: torch.Tensor) -> bool:
    """Do classes differ in size by more than half? Those without a label (-1) count nowhere."""
    sizes = labels[labels >= 0].bincount()
    sizes = sizes[sizes > 0]
    return len(sizes) > 1 and bool(sizes.max() > UNEVEN * sizes.min())


def labels_to_balance(
    labels: torch.Tensor, balanced: bool | Literal["where_uneven"], multi_label: bool
) -> torch.Tensor | None:
    """The labels that balanced training draws by; None: it shuffles.

    Raises:
        ValueError: it shall balance, and not every image has exactly one label.
    """
    single = not (multi_label or (labels < 0).any())
    if balanced == "where_uneven" and not (single and uneven(labels)):
        return None
    if balanced and not single:
        raise ValueError("data: balanced needs exactly one label of every training image")
    return labels.cpu() if balanced else None

"""Splits that belong to the data, not to a run: stratified, nested, the same for everybody."""

import numpy as np


def carve(labels: list[int], held_out: int | float) -> tuple[list[int], list[int]]:
    """Indices of training and validation: stratified, drawn once (seed 0).

    Args:
        labels: of the published training split, in its order.
        held_out: images, or share, that become validation.
    """
    from sklearn.model_selection import train_test_split  # slow to load, and only needed here

    train, val = train_test_split(
        range(len(labels)), test_size=held_out, stratify=labels, random_state=0
    )
    return balanced(train, labels), sorted(val)


def balanced(indices: list[int], labels: list[int]) -> list[int]:
    """Reorder so that every prefix holds the classes as evenly as it can.

    The first 1,000 are thus a subset of the first 10,000: few-label studies are nested.
    """
    generator = np.random.default_rng(0)
    turns = []
    for label in sorted({labels[i] for i in indices}):
        members = generator.permutation([i for i in indices if labels[i] == label])
        turns += [(turn, label, int(index)) for turn, index in enumerate(members)]
    return [index for _, _, index in sorted(turns)]

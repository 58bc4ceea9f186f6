"""Weights that somebody trained before: what they saw of the tasks, by what their files carry."""

from functools import cache

import torch

from vit.compare.identity import class_named
from vit.compare.overlap import (
    Overlap,
    classes_in_both,
    labels_shared,
    overlap,
    same_classes,
    with_all_labels,
)
from vit.data.base import Images
from vit.data.content import image_hashes
from vit.models.lineage import Link
from vit.models.weights.card import Card, card_of
from vit.yaml_text import load_yaml

OURS = "vit.data."  # whose classes a file's settings may build


def labels_learned(link: Link, task: Images, declared: tuple[str, ...]) -> str:
    """Why a training before knew a task's labels; empty: it did not, as far as is known.

    Args:
        link: the training.
        task: of which no split may be in it, whole.
        declared: names of classes that mean other things in the two sets.
    """
    if not link.uses_labels or card_of(link):  # of released weights it is said, not refused
        return ""
    if (seen := rebuilt(link.config, link.content)) is not None:
        return labels_shared(seen, task, declared)
    whole = with_all_labels(task)
    for split in ("train", "val", "test"):
        if count := copies(link, whole, split):
            return f"{count} images of the task's {split} split are in it"
    return same_classes(link.classes, task.spec.classes, declared)


def images_seen(link: Link, task: Images) -> Overlap:
    """The images of a task's test split that a training before saw, of those that it recorded.

    The pictures behind released weights are not here: only names of classes can be compared.
    """
    if card := card_of(link):
        classes = classes_in_both(upstream_classes(card), task.spec.classes)
        return Overlap(None, None, task.spec.counts["test"], classes)
    if (seen := rebuilt(link.config, link.content)) is not None:
        return overlap(seen, task)
    classes = classes_in_both(link.classes, task.spec.classes)
    return Overlap(copies(link, task, "test"), None, task.spec.counts["test"], classes)


def upstream_classes(card: Card) -> tuple[str, ...]:
    """The names of the classes that released weights learned from, as far as they are known."""
    if card.classes or "imagenet" not in card.data.casefold().replace("-", ""):
        return card.classes
    from torchvision.models import ViT_B_16_Weights  # ImageNet's 1,000, which larger ones hold too

    return tuple(ViT_B_16_Weights.IMAGENET1K_V1.meta["categories"])


def copies(link: Link, task: Images, split: str) -> int:
    """The images of a split whose hashes a training kept."""
    return int(torch.isin(image_hashes(task.open(split)), link.hashes).sum())


@cache
def rebuilt(config: str, content: str | None) -> Images | None:
    """The data that a training learned from; None where it lies there no more, or was changed.

    Args:
        config: settings of the training, as YAML.
        content: digest of its training split; None: not recorded.
    """
    try:
        node = load_yaml(config, "lineage")["data"]
        kind = class_named(node["class_path"]) if node["class_path"].startswith(OURS) else None
        if not (isinstance(kind, type) and issubclass(kind, Images)):
            return None
        data = kind(**(node.get("init_args") or {}) | {"augmentation": None})
        now = data.content("train")
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ImportError):
        return None
    return data if now and content in (now, None) else None

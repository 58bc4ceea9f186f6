"""Protocols on an encoder's frozen features, beside controls: untrained, raw pixels, k-means.

M images of a split.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vit.batch import LoaderContext
from vit.data.base import Images
from vit.data.content import picture_keys
from vit.data.splits import carve
from vit.digest import digest
from vit.evaluate.base import FrozenFeatures, Result, Task
from vit.evaluate.catalogue import protocol
from vit.evaluate.feature_cache import FeatureCache
from vit.evaluate.features import LARGEST, numbered_features, raw_pixels
from vit.evaluate.kmeans import kmeans_features
from vit.evaluate.rankme import rankme
from vit.models.base import Encoder
from vit.models.torch_files import hash_of

CLASSICAL = "pixels"  # the protocol that only reads raw pixels
KMEANS = "kmeans"  # the protocol that reads what k-means made of them
CONTROLS = ("random", CLASSICAL, KMEANS)


@dataclass
class Scores:
    """What an evaluation measured.

    Args:
        metrics: fractions by `<split>/<protocol>/<metric>`; a control's end in `_<control>`.
        ids: of protocols, by `<split>/<protocol>`, with the control's ending.
        correct: which images were classified right, M, by split and protocol.
        notes: what protocols chose.
        undefined: a line for each protocol that this encoder does not allow.
        effective_rank: of the encoder's features on validation.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    correct: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    undefined: list[str] = field(default_factory=list)
    effective_rank: float = float("nan")


@dataclass
class Evaluation:
    """One encoder, one data set, some protocols.

    Args:
        encoder: on the context's device.
        untrained: makes the control of the same kind; called where `random` is a control.
        data: prepared.
        context: of one process; its device, seed and normalisation are used.
        data_identity: what of the data's settings can move a figure; part of every protocol's id.
        precision: of the device's arithmetic; features of another are kept apart.
        protocols: names.
        splits: that are classified; their first metrics are named by them.
        controls: of CONTROLS.
        cache: of features.
        say: shows what is being done.
    """

    encoder: Encoder
    untrained: Callable[[], Encoder]
    data: Images
    context: LoaderContext
    data_identity: dict[str, Any]
    precision: str
    protocols: list[str]
    splits: list[str]
    controls: list[str]
    cache: FeatureCache
    say: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        self.functions = {name: protocol(name) for name in (*self.protocols, CLASSICAL, KMEANS)}
        self.scores = Scores(correct={split: {} for split in self.splits})

    @property
    def needed(self) -> list[str]:
        """The splits that are read: protocols learn from train and choose on val."""
        return ["train", "val", *(["test"] if "test" in self.splits else [])]

    def run(self) -> Scores:
        """Every protocol on every split; features are made once."""
        features = self.features(self.encoder)
        self.scores.effective_rank = rankme(features["val"].features)
        self.apply_protocols("", features, self.protocols)
        if "random" in self.controls:
            self.apply_protocols("_random", self.features(self.untrained()), self.protocols)
        if {CLASSICAL, KMEANS} & set(self.controls):
            self.apply_to_pixels({s: raw_pixels(self.data, s, self.context) for s in self.needed})
        return self.scores

    def apply_to_pixels(self, pixels: dict[str, FrozenFeatures]) -> None:
        """The controls that see no encoder."""
        if CLASSICAL in self.controls:
            labelled = {split: rows.labelled() for split, rows in pixels.items()}
            names = [n for n in self.protocols if not declares(self.functions[n], "NEEDS_TOKENS")]
            self.apply_protocols("_pixels", labelled, names)
            self.apply_protocols("", labelled, [CLASSICAL])
        if KMEANS in self.controls:
            self.say("k-means on patches")
            shown = self.context.normalisation or self.data.spec
            spec = replace(self.data.spec, mean=shown.mean, std=shown.std)
            features = kmeans_features(pixels, spec, self.context.seed)
            self.apply_protocols("", {s: x.labelled() for s, x in features.items()}, [KMEANS])

    def features(self, encoder: nn.Module) -> dict[str, FrozenFeatures]:
        """The labelled images of each split, from the cache where they are there."""
        tokens = any(declares(self.functions[name], "NEEDS_TOKENS") for name in self.protocols)
        key = self.cache_key(encoder, tokens)
        return {
            split: self.split_features(encoder, split, tokens, key).labelled()
            for split in self.needed
        }

    def split_features(
        self, encoder: nn.Module, split: str, tokens: bool, key: str
    ) -> FrozenFeatures:
        """The images of one split, of which those that went through this encoder before do not."""
        dataset = self.data.samples(split)
        pictures = picture_keys(dataset) if self.cache.folder else []
        features = self.cache.get(key, pictures, dataset.labels)
        if features is None:
            self.say(f"features of {self.data.spec.counts[split]:,} {split} images")
            context = self.context
            features, index = numbered_features(encoder, self.data, split, context, tokens)
            self.cache.keep(key, pictures, features, index)
        return features

    def cache_key(self, encoder: nn.Module, tokens: bool) -> str:
        """What the features of a picture depend on: the weights, and how it is shown."""
        kind = [encoder.class_path, encoder.settings, str(self.context.device), self.precision]
        spec, data = self.context.normalisation, self.data
        shown = [type(data).__qualname__, data.spec.image_size, data.preprocessing()]
        return digest([hash_of(encoder), kind, shown, spec.mean, spec.std, tokens])

    def identity(self, split: str) -> dict[str, Any]:
        """What of the data and its presentation belongs to a protocol's id."""
        return {
            "data": self.data_identity,
            "split": split,
            "split_hash": self.data.split_hash(split),
            "train_hash": self.data.split_hash("train"),
            "image_size": self.data.spec.image_size,
            "resize": "bilinear, antialiased",
        }

    def apply_protocols(
        self, ending: str, features: dict[str, FrozenFeatures], names: list[str]
    ) -> None:
        """Score one source of features; the ending marks a control."""
        for split in self.splits:
            for name in names:
                result = self.apply_protocol(name, split, features, ending)
                if result is not None:
                    self.keep(name, split, ending, result)

    def apply_protocol(
        self, name: str, split: str, features: dict[str, FrozenFeatures], ending: str
    ) -> Result | None:
        """One figure; None where the features do not have what the protocol needs."""
        function = self.functions[name]
        train, choice = features["train"], features["val"]
        if declares(function, "NEEDS_TOKENS") and train.tokens is None:
            self.scores.undefined = [f"{name}: not defined, this encoder has no patch tokens"]
            return None
        if declares(function, "CHOOSES") and split == "val":
            train, choice = learn_and_choose(train)  # nothing is chosen on the queries
        self.say(f"{name}{ending.replace('_', ', ')}, {split} split")
        classes = len(self.data.spec.classes)
        result = function(Task(train, choice, features[split], classes, self.context.seed))
        result.protocol |= self.identity(split)
        if {CLASSICAL, KMEANS} & set(train.pooled) and max(self.data.spec.image_size) > LARGEST:
            result.protocol["pixels"] = f"shrunk to {LARGEST} px"
        return result

    def keep(self, name: str, split: str, ending: str, result: Result) -> None:
        """Keep one result under its names."""
        column = f"{name}{ending}"
        self.scores.ids[f"{split}/{column}"] = result.id
        for metric, value in result.metrics.items():
            self.scores.metrics[f"{split}/{name}/{metric}{ending}"] = value
        self.scores.correct[split][column] = result.per_image["correct"]
        if result.notes:
            self.scores.notes[f"{split}/{column}"] = result.notes


def learn_and_choose(train: FrozenFeatures) -> tuple[FrozenFeatures, FrozenFeatures]:
    """Four fifths to learn from and a fifth to choose on, where validation holds the queries."""
    labels = train.labels.tolist()
    least = min(labels.count(label) for label in set(labels))
    if least < 2 or len(labels) // 5 < len(set(labels)):
        return train, train  # too few to part with
    learn, choose = carve(labels, 0.2)
    return train[torch.tensor(learn)], train[torch.tensor(choose)]


def declares(function: Any, what: str) -> bool:
    """Does the file of a protocol say this of itself?"""
    return bool(getattr(sys.modules[function.__module__], what, False))

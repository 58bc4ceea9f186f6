"""The verb evaluate: protocols on frozen features, beside an untrained encoder and raw pixels."""

import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from vit.batch import LoaderContext
from vit.callbacks.run import Plan
from vit.callbacks.run_folder import write_json
from vit.callbacks.run_log import RunLog
from vit.callbacks.tables import append_rows, write_rows
from vit.cli.argv import FROM_MAY, command, config_of, only, parent_folder, subject_of
from vit.cli.engine import CLI
from vit.cli.errors import UsageError
from vit.cli.recorded import importable, settings_of, trusted_modules
from vit.compare.identity import data_identity, digest
from vit.data.splits import carve
from vit.evaluate.base import FrozenFeatures, Result, Task
from vit.evaluate.catalogue import protocol, refuse
from vit.evaluate.feature_cache import FeatureCache
from vit.evaluate.features import LARGEST, frozen_features, raw_pixels
from vit.evaluate.rankme import rankme
from vit.models.torch_files import hash_of
from vit.models.weights import open_checkpoint
from vit.randomness import step_seed

CLASSICAL = "pixels"  # the protocol that only reads raw pixels
CONTROLS = ("random", "pixels")


class Evaluation:
    """One encoder, one data set, some protocols.

    Args:
        cli: everything built, nothing run.
        protocols: names.
        splits: that are judged.
        controls: of CONTROLS.
        cache: of features.
        say: shows what is being done.
    """

    def __init__(
        self,
        cli: CLI,
        protocols: list[str],
        splits: list[str],
        controls: list[str],
        cache: FeatureCache,
        say: Callable[[str], None],
    ) -> None:
        self.say = say
        self.module, self.data, self.settings = cli.model, cli.datamodule, cli.settings
        self.protocols, self.splits, self.controls, self.cache = protocols, splits, controls, cache
        self.precision = str(cli.trainer.precision)
        self.functions = {name: protocol(name) for name in (*protocols, CLASSICAL)}
        self.module.to(cli.trainer.strategy.root_device)
        self.context = LoaderContext(
            seed=self.module.seed, device=self.module.device, normalisation=self.module.spec
        )
        self.needed = ["train", "val"] + (["test"] if "test" in splits else [])
        self.metrics: dict[str, float] = {}
        self.ids: dict[str, str] = {}
        self.correct: dict[str, dict[str, torch.Tensor]] = {split: {} for split in splits}
        self.notes: dict[str, Any] = {}
        self.undefined: list[str] = []

    def run(self) -> None:
        """Every protocol on every split; features are made once."""
        encoder = self.module.eval_objective.encoder
        features = self.features(encoder)
        self.rank = rankme(features["val"].features)
        self.score("", features, self.protocols)
        if "random" in self.controls:
            with torch.random.fork_rng():
                torch.manual_seed(step_seed(self.module.seed, "untrained encoder"))
                untrained = self.module.random_encoder().to(self.module.device)
            self.score("_random", self.features(untrained), self.protocols)
        if "pixels" in self.controls:
            raw = {s: raw_pixels(self.data, s, self.context).labelled() for s in self.needed}
            names = [
                name
                for name in self.protocols
                if not declares(self.functions[name], "NEEDS_TOKENS")
            ]
            self.score("_pixels", raw, names)
            self.score("", raw, [CLASSICAL])

    def features(self, encoder: nn.Module) -> dict[str, FrozenFeatures]:
        """Of each split, from the cache where they are there."""
        tokens = any(declares(self.functions[name], "NEEDS_TOKENS") for name in self.protocols)
        found = {}
        for split in self.needed:
            key = self.key(encoder, split, tokens)
            features = self.cache.get(key)
            if features is None:
                self.say(f"features of {self.data.spec.counts[split]:,} {split} images")
                features = frozen_features(encoder, self.data, split, self.context, tokens)
                self.cache.keep(key, features)
            found[split] = features.labelled()
        return found

    def key(self, encoder: nn.Module, split: str, tokens: bool) -> str:
        """Of features: the weights, the images and how they are shown."""
        kind = [encoder.class_path, encoder.settings, str(self.module.device), self.precision]
        return digest(
            [hash_of(encoder), kind, self.about(split), self.module.spec.to_dict(), tokens]
        )

    def about(self, split: str) -> dict[str, Any]:
        """What of the data and its presentation belongs to a protocol's id."""
        return {
            "data": data_identity(self.settings["data"]),
            "split": split,
            "split_hash": self.data.split_hash(split),
            "train_hash": self.data.split_hash("train"),
            "image_size": self.data.spec.image_size,
            "resize": "bilinear, antialiased",
        }

    def score(self, who: str, features: dict[str, FrozenFeatures], names: list[str]) -> None:
        """Apply protocols to one encoder's features and keep what they say."""
        classes, seed = len(self.data.spec.classes), self.module.seed
        for split in self.splits:
            for name in names:
                function = self.functions[name]
                train, choice = features["train"], features["val"]
                if declares(function, "NEEDS_TOKENS") and train.tokens is None:
                    self.undefined = [f"{name}: not defined, this encoder has no patch tokens"]
                    continue
                if declares(function, "CHOOSES") and split == "val":
                    train, choice = halves(train)  # nothing is chosen on what is judged
                self.say(f"{name}{who.replace('_', ', ')}, judged on {split}")
                result = function(Task(train, choice, features[split], classes, seed))
                result.protocol |= self.about(split)
                if "pixels" in train.pooled and max(self.data.spec.image_size) > LARGEST:
                    result.protocol["pixels"] = f"shrunk to {LARGEST} px"
                self.keep(f"{name}{who}", split, name, who, result)

    def keep(self, column: str, split: str, name: str, who: str, result: Result) -> None:
        """One result."""
        self.ids[f"{split}/{column}"] = result.id
        for metric, value in result.metrics.items():
            self.metrics[f"{split}/{name}/{metric}{who}"] = value
        self.correct[split][column] = result.per_image["correct"]
        if result.notes:
            self.notes[f"{split}/{column}"] = result.notes


def evaluate(own: dict[str, str], rest: list[str]) -> int:
    """Judge the encoder of a run, of a checkpoint, or an untrained one.

    Args:
        own: our options.
        rest: the subject, where there is one, and words for the parser.
    """
    subject = rest.pop(0) if rest and not rest[0].startswith("-") else own.get("--from")
    splits = chosen(own.get("--split", "val"), "--split", ("val", "test"))
    controls = chosen(own.get("--controls", "random,pixels"), "--controls", CONTROLS)
    names = [
        name for name in own.get("--protocols", "knn,ridge,linear,attentive").split(",") if name
    ]
    started, folder, extra, known = time.perf_counter(), None, {}, None
    trusted = trusted_modules(own.get("--trust"))
    if not splits or not names:
        raise UsageError("evaluate: --split and --protocols must name at least one")
    if "--resume" in own:
        raise UsageError("evaluate: --resume belongs to fit")
    if subject:
        file, folder = subject_of(subject, own, "evaluate")
        only(rest, (*FROM_MAY, "threads"), "evaluate")
        settings = settings_of(open_checkpoint(file)["config"], file, trusted)
        rest, known = ["--config", config_of(settings, file, rest), *rest], importable(trusted)
        extra = {"checkpoint": str(file)} | ({"trusted": list(trusted)} if trusted else {})
    elif not any(word.split("=")[0] in ("--config", "-c") for word in rest):
        raise UsageError("evaluate: say what: python train.py evaluate <run folder | checkpoint>")
    else:
        controls = [name for name in controls if name != "random"]  # that is what is judged
    parent = parent_folder(own, rest if not subject else ["--config", "evaluate.yaml"])
    files = RunLog()
    plan = Plan("evaluate", folder, parent, 0, command(), extra=extra)
    cli = CLI(rest, plan, files, known)
    refuse(cli.datamodule.spec)
    cli.datamodule.prepare_data()
    cli.run_callback.setup(cli.trainer, cli.model, "test")
    with Console(stderr=True).status("") as status:  # only where a terminal is
        work = Evaluation(cli, names, splits, controls, cache_in(own, subject), status.update)
        work.run()
    write(files.folder, work, time.perf_counter() - started, extra)
    for line in table(work.metrics, work.protocols) + work.undefined:
        print(line)
    print(f"run: {files.folder}")
    return 0


def write(folder: Path, work: Evaluation, seconds: float, extra: dict[str, Any]) -> None:
    """The summary, correctness image by image, and a line a figure in the list that only grows."""
    encoder = work.module.eval_objective.encoder
    about = {
        "status": "completed",
        "seed": work.module.seed,
        "seconds": round(seconds, 1),
        "encoder_hash": hash_of(encoder),
        "effective_rank": round(work.rank, 2),
        "labels": {split: work.data.spec.counts[split] for split in ("train", "val")},
        "splits": {split: work.data.split_hash(split) for split in work.needed},
        **extra,
        "chosen": work.notes,
        "protocol_ids": work.ids,
        "correct_sha256": {
            split: write_correct(folder / f"correct.{split}.csv", columns)
            for split, columns in work.correct.items()
        },
        **work.metrics,
    }
    rows, name = [], type(work.data).__name__
    for metric, value in work.metrics.items():
        split, protocol_name, measure = metric.split("/")
        who = next((f"_{c}" for c in CONTROLS if measure.endswith(f"_{c}")), "")
        id_ = work.ids[f"{split}/{protocol_name}{who}"]
        rows.append([date.today().isoformat(), name, metric, id_, repr(value)])
    header = ["date", "data", "metric", "protocol_id", "value"]
    append_rows(folder / "evaluations.csv", header, rows)
    write_json(folder / "summary.evaluate.json", about)


def write_correct(path: Path, columns: dict[str, torch.Tensor]) -> str:
    """One row an image, in the split's order: 1 right, 0 wrong; the file's hash."""
    table = torch.stack([right.int().cpu() for right in columns.values()], 1).tolist()
    rows = ([number, *row] for number, row in enumerate(table))
    return write_rows(path, ["index", *columns], rows)


def table(metrics: dict[str, float], protocols: list[str]) -> list[str]:
    """A row a protocol and metric; columns: this encoder, an untrained one, raw pixels."""
    columns = [c for c in ("", *(f"_{c}" for c in CONTROLS))
               if not c or any(name.endswith(c) for name in metrics)]  # fmt: skip
    titles = {"": "this encoder", "_random": "untrained", "_pixels": "raw pixels"}
    lines = [f"{'':<30}" + "".join(f"{titles[c]:>14}" for c in columns)]
    own = [n for n in metrics if not n.endswith(tuple(f"_{c}" for c in CONTROLS))]
    for name in own:
        if name.split("/")[1] not in protocols:
            continue
        cells = [metrics.get(name + c) for c in columns]
        shown = [f"{'-' if v is None else f'{100 * v:.1f} %':>14}" for v in cells]
        lines.append(f"{name:<30}" + "".join(shown))
    for name in own:
        if name.split("/")[1] == CLASSICAL:
            lines.append(f"{name + ' (a classical classifier)':<30} {100 * metrics[name]:.1f} %")
    return lines


def halves(train: FrozenFeatures) -> tuple[FrozenFeatures, FrozenFeatures]:
    """Four fifths to learn from and a fifth to choose on, where validation is what is judged."""
    labels = train.labels.tolist()
    least = min(labels.count(label) for label in set(labels))
    if least < 2 or len(labels) // 5 < len(set(labels)):
        return train, train  # too few to part with
    learn, choose = carve(labels, 0.2)
    return train[torch.tensor(learn)], train[torch.tensor(choose)]


def chosen(text: str, option: str, known: tuple[str, ...]) -> list[str]:
    """Names between commas; `none` for none."""
    names = [name for name in text.split(",") if name and name != "none"]
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: unknown {name!r}; known: {', '.join(known)}")
    return names


def cache_in(own: dict[str, str], subject: str | None) -> FeatureCache:
    """<logs>/cache, unless told otherwise."""
    text = own.get("--cache", str(Path(own.get("--logs", "logs")) / "cache"))
    return FeatureCache(None if text == "none" or subject is None else Path(text))


def declares(function: Any, what: str) -> bool:
    """Does the file of a protocol say this of itself?"""
    return bool(getattr(sys.modules[function.__module__], what, False))

"""The verb evaluate: read the command line, let the evaluation run, print its table."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from vit.batch import LoaderContext
from vit.callbacks.evaluation_files import write_evaluation
from vit.callbacks.run import Plan, Run, callback_of
from vit.callbacks.run_log import RunLog
from vit.cli.argv import (
    FROM_MAY,
    checkpoint_and_folder,
    config_of,
    only,
    parent_folder,
    typed_command,
)
from vit.cli.engine import CLI, classes_of_folder
from vit.cli.errors import UsageError
from vit.cli.recorded import importable, settings_of, trusted_modules
from vit.compare.identity import data_identity
from vit.evaluate.catalogue import check_labels
from vit.evaluate.evaluation import CLASSICAL, CONTROLS, KMEANS, Evaluation
from vit.evaluate.feature_cache import FeatureCache
from vit.models.weights import open_checkpoint

CLASSICAL_TITLES = {CLASSICAL: "a classical classifier", KMEANS: "features by k-means"}
TITLES = {"": "this encoder", "_random": "untrained", "_pixels": "raw pixels"}


def evaluate(options: dict[str, str], rest: list[str]) -> int:
    """Evaluate the encoder of a run, of a checkpoint, or an untrained one.

    Args:
        options: ours.
        rest: the subject, where there is one, and arguments for the parser.
    """
    started = time.perf_counter()
    subject = rest.pop(0) if rest and not rest[0].startswith("-") else options.get("--from")
    splits = listed_names(options.get("--split", "val"), "--split", ("val", "test"))
    controls = listed_names(options.get("--controls", "random,pixels"), "--controls", CONTROLS)
    protocols = options.get("--protocols", "knn,ridge,linear,attentive").split(",")
    protocols = [name for name in protocols if name]
    if not splits or not protocols:
        raise UsageError("evaluate: --split and --protocols must name at least one")
    if "--resume" in options:
        raise UsageError("evaluate: --resume belongs to fit")
    cli, extra = built(options, rest, subject)
    trained = subject or cli.settings["model"]["pretrained"]
    if not trained:
        controls = [name for name in controls if name != "random"]  # the encoder is untrained
    check_labelled(cli)
    cli.datamodule.prepare_data()
    callback_of(cli.trainer, Run).setup(cli.trainer, cli.model, "test")
    cli.model.to(cli.trainer.strategy.root_device)
    with Console(stderr=True).status("") as status:  # only where a terminal is
        evaluation = Evaluation(
            encoder=cli.model.eval_objective.kept_encoder,
            untrained=cli.model.untrained_encoder,
            data=cli.datamodule,
            context=LoaderContext(
                seed=cli.model.seed, device=cli.model.device, normalisation=cli.model.spec
            ),
            data_identity=data_identity(cli.settings["data"]),
            precision=str(cli.trainer.precision),
            protocols=protocols,
            splits=splits,
            controls=controls,
            cache=cache_in(options, bool(trained)),
            say=status.update,
        )
        scores = evaluation.run()
    write_evaluation(cli.files.folder, evaluation, time.perf_counter() - started, extra)
    print("\n".join(accuracy_table(scores.metrics, protocols) + scores.undefined))
    print(f"run: {cli.files.folder}")
    return 0


def built(
    options: dict[str, str], rest: list[str], subject: str | None
) -> tuple[CLI, dict[str, Any]]:
    """Encoder, data and trainer, and what the summary says of where they come from.

    Args:
        options: ours.
        rest: arguments for the parser.
        subject: a run folder or checkpoint; None: the arguments say all.
    """
    trusted = trusted_modules(options.get("--trust"))
    folder, extra, allowed = None, {}, None
    parent = parent_folder(options, ["--config", "evaluate.yaml"] if subject else rest)
    if subject:
        file, folder = checkpoint_and_folder(subject, options, "evaluate")
        only(rest, (*FROM_MAY, "threads"), "evaluate")
        settings = settings_of(open_checkpoint(file)["config"], file, trusted)
        rest = ["--config", config_of(settings, file, rest), *rest]
        allowed = importable(trusted)
        extra = {"checkpoint": str(file)} | ({"trusted": list(trusted)} if trusted else {})
    elif not any(word.split("=")[0] in ("--config", "-c") for word in rest):
        raise UsageError("evaluate: say what: python train.py evaluate <run folder | checkpoint>")
    plan = Plan("evaluate", folder, parent, 0, typed_command(), extra=extra)
    return CLI(rest, plan, RunLog(), allowed), extra


def check_labelled(cli: CLI) -> None:
    """Protocols need a label an image.

    Raises:
        UsageError: there is none, or several; of a folder without classes the line says more.
    """
    spec = cli.datamodule.spec
    try:
        check_labels(spec)
    except ValueError as error:
        seen = "" if spec.classes else classes_of_folder(cli.config.data)
        raise UsageError(f"{error}{seen}") from error


def listed_names(text: str, option: str, known: tuple[str, ...]) -> list[str]:
    """Names between commas; `none` for none.

    Raises:
        UsageError: one is not known.
    """
    names = [name for name in text.split(",") if name and name != "none"]
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: unknown {name!r}; known: {', '.join(known)}")
    return names


def cache_in(options: dict[str, str], trained: bool) -> FeatureCache:
    """<logs>/cache, where no other is given; none for an untrained encoder, where none is given."""
    usual = str(Path(options.get("--logs", "logs")) / "cache") if trained else "none"
    text = options.get("--cache", usual)
    return FeatureCache(None if text == "none" else Path(text))


def accuracy_table(metrics: dict[str, float], protocols: list[str]) -> list[str]:
    """A row a protocol and metric; columns: this encoder, an untrained one, raw pixels."""
    controls = [f"_{control}" for control in CONTROLS]
    columns = ["", *(c for c in controls if any(name.endswith(c) for name in metrics))]
    lines = [f"{'':<30}" + "".join(f"{TITLES[c]:>14}" for c in columns)]
    names = [name for name in metrics if not name.endswith(tuple(controls))]
    for name in names:
        if name.split("/")[1] not in protocols:
            continue
        cells = [metrics.get(name + c) for c in columns]
        texts = [f"{'-' if v is None else f'{100 * v:.1f} %':>14}" for v in cells]
        lines.append(f"{name:<30}" + "".join(texts))
    for name in names:
        if what := CLASSICAL_TITLES.get(name.split("/")[1]):
            lines.append(f"{name + f' ({what})':<30} {100 * metrics[name]:.1f} %")
    return lines

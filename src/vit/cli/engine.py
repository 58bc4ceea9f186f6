"""From a command line to a Lightning Trainer: the one link, our defaults, our verbs."""

import math
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from vit import lightning_workarounds as workarounds
from vit import parser_workarounds
from vit.callbacks.defaults import default_callbacks
from vit.callbacks.run import Plan
from vit.callbacks.run_log import RunLog
from vit.cli.errors import UsageError, one_line
from vit.cli.recorded import walk_settings
from vit.cli.suggestions import OneLineParser
from vit.cli.weights_size import size_for_weights
from vit.data import import_data_sets
from vit.data.classes_seen import classes_seen
from vit.module import ViTModule
from vit.objectives.parts.classification import TooFewClassesError

import_data_sets()  # short class names in YAML are those of classes that are loaded

OURS = {  # Trainer keys that something here replaces, and what to use instead
    "gradient_clip_val": "model.clip.value",
    "gradient_clip_algorithm": "model.clip.kind",
    "logger": "--logs and --name",
    "default_root_dir": "--logs",
    "max_time": "trainer.max_steps: schedules follow the run's length",
}
NUMBERS = {  # Trainer keys that count something, from where to where
    "log_every_n_steps": (1, math.inf),
    "max_epochs": (1, math.inf),
    "max_steps": (1, math.inf),
    "accumulate_grad_batches": (1, math.inf),
    "check_val_every_n_epoch": (1, math.inf),
    "num_nodes": (1, 10_000),
    "devices": (1, 1024),
}
ENDLESS = ("max_epochs", "max_steps", "devices")  # where -1 means: the other one counts, or all
LIMITS = {  # the Trainer key that says how much of its split a verb reads
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
    "validate": "limit_val_batches",
}
THREADS = 1024  # beyond it OpenMP ends the process


class CLI(LightningCLI):
    """Parses, links and builds; running is up to the caller.

    Args:
        args: a command line without its verb.
        plan: what was decided before.
        files: the run's logger.
        only: what may be imported, where the settings come out of a file; None: they were typed.
    """

    def __init__(
        self, args: list[str], plan: Plan, files: RunLog, only: list[str] | None = None
    ) -> None:
        self.plan, self.files = plan, files
        with parser_workarounds.importing(only):
            self._build(args)

    def _build(self, args: list[str]) -> None:
        OneLineParser.folder = Path.cwd()
        super().__init__(
            ViTModule,
            LightningDataModule,
            subclass_mode_data=True,
            run=False,
            args=args,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_class=OneLineParser,
            parser_kwargs={"allow_abbrev": False},
            trainer_defaults={
                "use_distributed_sampler": False,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 20,
                "enable_model_summary": False,  # the header says what matters
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The only link, and the keys that belong to no class."""
        parser.link_arguments("data.spec", "model.spec", apply_on="instantiate")
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=False,
            help="read the test split once the fit is done",
        )
        parser.add_argument(
            "--threads",
            type=int | None,
            default=None,
            help="CPU threads of each process; null: torch decides. Small models: 1",
        )
        parser.add_argument(
            "--keep_best",
            type=bool,
            default=False,
            help="also keep best.ckpt, the best on validation; it is then what --from means",
        )
        parser.add_argument(
            "--best_metric",
            type=str | None,
            default=None,
            help="what is best, val/macro_f1 say; null: the objective's own, and balanced accuracy "
            "instead of accuracy where classes differ in size",
        )
        parser.add_argument(
            "--estimate",
            type=bool,
            default=False,
            help="time some steps of a copy first, and say what the fit will take",
        )
        parser.add_argument(
            "--checkpoint_every",
            type=int,
            default=200,
            help="optimiser steps between checkpoints within an epoch",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without LightningCLI's warning that arguments were handed over."""
        self.config = parser.parse_args(args)
        seed = self.config.seed_everything
        if isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise UsageError(f"seed_everything must be a number from 0 to 2**32 - 1, got {seed}")
        threads = self.config.threads
        if threads is not None and not 1 <= threads <= THREADS:
            raise UsageError(f"threads must be from 1 to {THREADS:,}, got {threads}")

    def before_instantiate_classes(self) -> None:
        """Refuse keys that would do nothing, or something else than they say."""
        check_trainer(self.config.trainer)
        limit = LIMITS.get(self.plan.verb)
        if limit and self.config.trainer.get(limit) == 0:
            raise UsageError(f"trainer.{limit} is 0: there would be nothing to {self.plan.verb}")
        size = size_for_weights(self.config.data, self.config.model.pretrained)
        if size is not None:
            self.config.data.init_args.image_size = size

    def instantiate_classes(self) -> None:
        """Build, and hand the module what only the command line knows."""
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        self.config.trainer.logger = False  # ours is handed over ready-made
        text = self.parser.dump(self.config.clone(), skip_none=False)
        settings = {k: v for k, v in yaml.safe_load(text).items() if k != "config"}
        settings["trainer"]["logger"] = None
        self.settings = settings  # resolved, in plain values
        check_numbers(settings)
        self.config_dump = {}  # Lightning would make another, which nobody reads
        try:
            super().instantiate_classes()
        except TooFewClassesError as error:
            raise UsageError(f"{error}{classes_of_folder(self.config.data)}") from error
        self.model.config = self.plan.config or yaml.safe_dump(settings, sort_keys=False)
        self.model.seed = self.plan.seed = self.config.seed_everything

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The Trainer with our files, our checkpoints and our bar."""
        self.trainer_defaults["callbacks"] = default_callbacks(
            self.plan,
            self.files,
            progress_bar=self.config.trainer.enable_progress_bar is not False,
            checkpoint_every=self.config.checkpoint_every,
            keep_best=self.config.keep_best,
            best_metric=self.config.best_metric,
            estimate=self.config.estimate,
        )
        check_device(self.config.trainer)
        given = self.config_init.trainer.plugins or []
        plugins = [*(given if isinstance(given, list) else [given]), workarounds.AtomicFiles()]
        try:
            return super().instantiate_trainer(logger=self.files, plugins=plugins)
        except (TypeError, AttributeError, ImportError) as error:
            raise UsageError(f"trainer: {one_line(error)}") from error


def classes_of_folder(data: Any) -> str:
    """What lies in a folder of pictures that has too few classes; of other data nothing."""
    if not data.class_path.endswith(".ImageFolder"):
        return ""
    given = data.init_args
    if given.classes is not None:
        return f"; data.classes keeps {', '.join(given.classes) or 'none'}"
    return f"; {classes_seen(Path(given.root), Path(given.labels) if given.labels else None)}"


def check_numbers(settings: dict[str, Any]) -> None:
    """No setting is nan or infinite: comparisons with it say no, and training goes wrong late."""
    for key, value in walk_settings(settings, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{key} must be a number, got {value}")


def check_trainer(trainer: Any) -> None:
    """Refuse what has no effect here, and settings that cannot be."""
    if trainer.use_distributed_sampler:
        raise UsageError(
            "trainer.use_distributed_sampler repeats images to fill up ranks; the loaders "
            "here are exact without it"
        )
    for key, instead in OURS.items():
        if trainer.get(key) is not None:
            raise UsageError(f"trainer.{key} is not used here; use {instead}")
    check_counts(trainer)
    if trainer.overfit_batches:
        raise UsageError(
            "trainer.overfit_batches is not used here; use trainer.limit_train_batches"
        )
    if trainer.limit_train_batches == 0:
        raise UsageError("trainer.limit_train_batches is 0: nothing would be trained")
    interval = trainer.val_check_interval
    fractions = isinstance(interval, float) and 0 < interval <= 1
    if not (interval is None or fractions or (isinstance(interval, int) and interval >= 1)):
        raise UsageError(
            "trainer.val_check_interval counts batches from 1, or is a fraction of an epoch in "
            f"(0, 1], got {interval}"
        )


def check_counts(trainer: Any) -> None:
    """Refuse numbers of the Trainer that count nothing."""
    for key, (least, most) in NUMBERS.items():
        value = trainer.get(key)
        if isinstance(value, str) and value.lstrip("-").isdecimal():
            value = int(value)  # devices are also words: auto, or "0,1"
        if not isinstance(value, int | None):
            continue
        counts = value is None or least <= value <= most or (value == -1 and key in ENDLESS)
        if not counts:
            upper = "" if most == math.inf else f" and at most {most:,}"
            raise UsageError(f"trainer.{key} must be at least {least}{upper}, got {value}")


def check_device(trainer: Any) -> None:
    """Say before the start what the device cannot do."""
    if str(trainer.precision).startswith("16"):
        raise UsageError("trainer: float16 is not offered; use bf16-mixed, or 32-true without it")
    if str(trainer.precision) in ("bf16-true", "64-true", "64"):
        raise UsageError(
            f"trainer: {trainer.precision} is not offered; use bf16-mixed: its weights are float32"
        )
    if trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UsageError("trainer: no CUDA GPU here; use --trainer configs/trainer/cpu.yaml")
    if (
        str(trainer.precision).startswith("bf16")
        and torch.cuda.is_available()
        and trainer.accelerator != "cpu"
        and not torch.cuda.is_bf16_supported()
    ):
        raise UsageError("trainer: this GPU has no bf16; use --trainer.precision 32-true")

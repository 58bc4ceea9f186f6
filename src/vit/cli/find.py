"""`fit --find`: learning rate and resize policy, chosen on validation by a few short runs.

Each is an ordinary fit of a tenth of the length; nothing of it is kept but a row of find.csv. A
learning-rate range test would be shorter and is not offered: for transformers it names rates that
are far too high (huggingface/transformers#16013). The test split is read by none of them.
"""

import gc
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from vit.callbacks.best_metric import BestMetric
from vit.callbacks.estimate import in_minutes
from vit.callbacks.run import Plan
from vit.callbacks.run_log import RunLog
from vit.callbacks.tables import csv_bytes
from vit.callbacks.validate_last_step import ValidateLastStep
from vit.cli.engine import CLI
from vit.cli.errors import UsageError
from vit.cli.report import as_text, say
from vit.cli.resize_policy import (
    CROP,
    Policy,
    discarded,
    other_policies,
    policy_of,
    sizes_of,
)
from vit.module import ViTModule

FEWEST = 30  # validation pictures: of fewer, one is more than three points
FACTORS = (1.0, 1 / 3, 3.0)  # of the recipe's learning rate, which is tried first
WARM_UP, TIMED = 2, 4  # batches
LENGTH, LEAST = 0.1, 20  # of a short run: fraction of the whole, and steps at least
EPOCHS = 1000  # Lightning's length where nobody gave one
LOSS = "val/loss"


@dataclass(frozen=True)
class Trial:
    """One short run.

    Args:
        lr: base learning rate.
        policy: how pictures become squares; None: they are of one size.
        value: what it reached, by the figure that weights are chosen by; NaN: it failed.
        loss: of validation.
        seconds: it took.
    """

    lr: float
    policy: Policy | None
    value: float = math.nan
    loss: float = math.nan
    seconds: float = 0.0

    @property
    def settings(self) -> list[str]:
        """The command line that asks for it."""
        return [
            "--model.optimizer.lr",
            repr(self.lr),
            *(self.policy.settings if self.policy else []),
        ]


@dataclass(frozen=True)
class Chosen:
    """What was chosen.

    Args:
        settings: to stand behind the command line of the fit.
        files: the table of what was tried, by its name in the run folder.
    """

    settings: list[str]
    files: dict[str, str]


class ForgetSteps(Callback):
    """Nobody logs these steps."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ViTModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Forget what was kept to be logged."""
        pl_module.step_losses.clear()


class SayLength(Callback):
    """After its first steps the first short run says how long the steps of all of them take.

    Args:
        steps: of all short runs.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.batches, self.begun = 0, 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: ViTModule, batch: Any, batch_idx: int
    ) -> None:
        """The first batches also set something up, and are not timed."""
        self.batches += 1
        if self.batches == WARM_UP + 1:
            self.begun = time.perf_counter()
        if self.batches == WARM_UP + TIMED + 1:
            a_batch = (time.perf_counter() - self.begun) / TIMED
            seconds = a_batch * self.steps * trainer.accumulate_grad_batches
            say(f"find: their steps take about {in_minutes(seconds)}")


class Search:
    """Short runs that differ from a fit in what is tried, in their length, and in leaving nothing.

    Args:
        argv: of the fit, without its verb.

    Raises:
        UsageError: nothing can be chosen for this fit.
    """

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.trials: list[Trial] = []
        self.count = 0  # of what will have been tried
        whole = self.build([])
        self.data = whole.datamodule
        self.module, self.metric = whole.model, BestMetric(whole.config.best_metric)
        self.name = self.metric.name(self.data, self.module)
        self.lr = whole.settings["model"]["optimizer"]["init_args"].get("lr")
        self.steps = short_length(whole)
        if whole.trainer.world_size > 1:
            raise UsageError(
                "--find: needs one process; choose on one GPU, then type what it chose"
            )
        if self.name is None or not self.lr:
            what = "learning rate" if self.name else "figure of validation to choose by"
            raise UsageError(f"--find: this fit has no {what}; leave --find out")

    def build(self, more: list[str]) -> CLI:
        """A fit that was not begun."""
        return CLI([*self.argv, *more], Plan("fit", None, Path("logs"), 0, ""), RunLog())

    def try_out(self, lr: float, policy: Policy | None) -> None:
        """One short run, which is validated once, at its end."""
        begun, asked = time.perf_counter(), Trial(lr, policy)
        cli = self.build(
            [
                *("--trainer.max_steps", str(self.steps), "--trainer.enable_progress_bar", "false"),
                *("--trainer.check_val_every_n_epoch", "1000000"),
                *("--trainer.val_check_interval", "null", "--trainer.callbacks", "null"),
                *asked.settings,
            ]
        )
        cli.trainer.callbacks, cli.trainer.logger = [ValidateLastStep(), ForgetSteps()], None
        if not self.trials:
            cli.trainer.callbacks.append(SayLength(self.count * self.steps))
        try:
            cli.trainer.fit(cli.model, cli.datamodule)
            results = cli.model.results
        except FloatingPointError:  # the rate is far too high
            results = {}
        except SystemExit as stop:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from stop
        value, loss = (results.get(name, math.nan) for name in (self.name, LOSS))
        self.trials.append(Trial(lr, policy, value, loss, time.perf_counter() - begun))
        say(f"find: {self.text(self.trials[-1])}, {in_minutes(self.trials[-1].seconds)}{self.rest}")
        del cli
        gc.collect()  # its loader's processes end

    @property
    def rest(self) -> str:
        """How long the others will take, by the time of those that are made."""
        left = self.count - len(self.trials)
        if left <= 0:
            return ""
        usual = sum(trial.seconds for trial in self.trials) / len(self.trials)
        return f"; {left} more, about {in_minutes(left * usual)}"

    @property
    def best(self) -> Trial:
        """The best trial; of equal ones that with the lower loss, else the earlier."""
        best = self.trials[0]
        for trial in self.trials[1:]:
            before = None if math.isnan(best.value) else best.value
            better = self.metric.is_better(trial.value, before, self.module)
            equal = trial.value == best.value and trial.loss < best.loss
            best = trial if not math.isnan(trial.value) and (better or equal) else best
        return best

    @property
    def edge(self) -> str:
        """What is to be said of a best rate beyond which nothing was tried."""
        rates = {trial.lr for trial in self.trials}
        sides = {min(rates): ("lowest", "lower"), max(rates): ("highest", "higher")}
        if len(rates) == 1 or self.best.lr not in sides:
            return ""
        end, beyond = sides[self.best.lr]
        return f"; the {end} rate tried: a {beyond} one may be better (--model.optimizer.lr)"

    def text(self, trial: Trial) -> str:
        """A trial in words."""
        way = f", {trial.policy.name}" if trial.policy else ""
        figure = "failed" if math.isnan(trial.value) else as_text(self.name, trial.value)
        return f"lr {trial.lr:g}{way}: {self.name} {figure}"

    @property
    def table(self) -> str:
        """All trials, in order."""
        header = ["lr", "policy", self.name, LOSS, "seconds", "chosen"]
        rows = [
            [t.lr, t.policy.name if t.policy else "", t.value, t.loss, f"{t.seconds:.1f}",
             int(t is self.best)]
            for t in self.trials
        ]  # fmt: skip
        return csv_bytes([header, *rows]).decode()


def find_settings(argv: list[str]) -> Chosen:
    """Try learning rates, then ways to make pictures square, and say what was chosen.

    Args:
        argv: of the fit, without its verb.
    """
    search = Search(argv)
    count, policy = search.data.spec.counts["val"], policy_of(search.data)
    if count < FEWEST:
        say(
            f"find: {count} validation pictures cannot tell settings apart ({FEWEST} are needed); "
            "the recipe's own are used"
        )
        return Chosen([], {})
    others = policies_to_try(search.data, policy)
    search.count = len(FACTORS) + len(others)
    say(
        f"find: {search.count} short runs of {search.steps} steps, compared on {count} validation "
        f"pictures, of which one is {100 / count:.1f} points"
    )
    for factor in FACTORS:
        search.try_out(float(f"{search.lr * factor:.2g}"), policy)
    for other in others:
        search.try_out(search.best.lr, other)
    say(f"find: chosen: {search.text(search.best)}{search.edge}")
    return Chosen(search.best.settings, {"find.csv": search.table})


def policies_to_try(data: Any, policy: Policy | None) -> list[Policy]:
    """The other ways, where the training pictures are not all squares; it says what is lost."""
    sizes = sizes_of(data) if policy else []
    if all(height == width for height, width in sizes):
        return []
    usual, most = discarded(sizes)
    say(
        f"find: a middle square (data.center_crop_ratio {CROP}) discards {100 * usual:.0f} % of a "
        f"training picture on average, {100 * most:.0f} % at most"
    )
    return other_policies(policy)


def short_length(whole: CLI) -> int:
    """The steps of a short run."""
    trainer, data = whole.config.trainer, whole.datamodule
    an_epoch = max(data.spec.counts["train"] // data.batch_size, 1)
    steps = (trainer.max_epochs or EPOCHS) * an_epoch
    if trainer.max_steps > 0:
        steps = trainer.max_steps if trainer.max_epochs is None else min(steps, trainer.max_steps)
    return min(max(round(LENGTH * steps), LEAST), steps)

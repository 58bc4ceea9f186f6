"""What the Trainer, and what is ours in it, adds to a bare training step of the quick start.

    python tests/benchmarks/step_overhead.py [--size Ti/16] [--epochs 10] [--rounds 5]

With --size, of that ViT on the digits at 224 px, batch 8: where a step takes as long as in real
use, the rest should not be seen. Both arms do the same work on the same batches: draw the views,
forward, backward, clip, AdamW, set the learning rate. The bare loop does nothing else. CPU time of
one thread; ours in the Trainer is timed hook by hook.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from lightning.pytorch import Callback

from vit.callbacks.run import Plan
from vit.callbacks.run_log import RunLog
from vit.cli.engine import CLI
from vit.lightning_workarounds import quieten

SOURCES = (
    "configs/quickstart.yaml", "src/vit/callbacks", "src/vit/cli/engine.py", "src/vit/data/base.py",
    "src/vit/data/digits.py", "src/vit/data/in_memory.py", "src/vit/data/sampling.py",
    "src/vit/data/transforms.py", "src/vit/lightning_workarounds.py", "src/vit/models/block.py",
    "src/vit/models/vit.py", "src/vit/module.py", "src/vit/objectives/supervised.py",
    "src/vit/optim",
)  # fmt: skip
CLAIM = "the Trainer, and what is ours in it, add to a bare training step of "
ROOT = Path(__file__).parents[2]
HOOKS = ("on_train_batch_start", "on_train_batch_end", "on_train_epoch_end", "progress")


def build(size: str | None, epochs: int, scratch: Path) -> CLI:
    """The quick start, short, without validation and bar; an epoch has 20 steps, 5 with a size."""
    plan = Plan("fit", None, scratch, 0, "benchmark")
    large = [
        "--data.image_size=224", "--data.batch_size=8", f"--model.encoder.size={size}",
        *(f"--model.encoder.{key}=null" for key in ("width", "depth", "heads", "mlp_width")),
        "--trainer.limit_train_batches=5", "--trainer.log_every_n_steps=5",
    ]  # fmt: skip
    return CLI([
        f"--config={ROOT / 'configs' / 'quickstart.yaml'}", f"--trainer.max_epochs={epochs}",
        "--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false", *(large if size else ()),
    ], plan, RunLog())  # fmt: skip


class Clock(Callback):
    """When the first step and the last one ended: the first allocates, here and in the loop."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        """Note it."""
        self.ends.append(time.process_time())

    def seconds_a_step(self) -> float:
        """The mean over all steps but the first."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def bare_loop(cli: CLI) -> float:
    """Seconds a step of a plain loop."""
    module, data = cli.model, cli.datamodule
    objective, context = module.objective.train(), module.loader_context()
    optimizer = cli.trainer.optimizers[0]
    loader, clock = data.train_dataloader(), Clock()
    epochs, limit = cli.trainer.max_epochs, cli.trainer.num_training_batches
    for _ in range(epochs):
        module.consumed = 0
        for batch in islice(loader, limit):
            shown = data.show(batch, context, training=True)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * module.schedule(0.5)
            optimizer.zero_grad()
            objective(shown, 0.5).loss.backward()
            module.clip(list(objective.parameters()))
            optimizer.step()
            clock.on_train_batch_end()
    return clock.seconds_a_step()


@contextmanager
def timed_hooks(cli: CLI, spent: dict[str, float]) -> Iterator[None]:
    """Wrap the hooks of our module and callbacks so that each adds its seconds to `spent`."""
    with ExitStack() as stack:
        for family in {type(part) for part in (cli.model, *cli.trainer.callbacks)}:
            for name in HOOKS:
                if family.__module__.startswith("vit.") and name in vars(family):
                    stack.enter_context(patch.object(family, name, timed(family, name, spent)))
        yield


def timed(family: type, name: str, spent: dict[str, float]) -> Any:
    """A method or property that adds its seconds to `spent`."""
    plain = vars(family)[name]
    call = plain.fget if isinstance(plain, property) else plain

    def clocked(*args: Any) -> Any:
        started = time.process_time()
        try:
            return call(*args)
        finally:
            spent[f"{family.__name__}.{name}"] += time.process_time() - started

    return property(clocked) if isinstance(plain, property) else clocked


def measure(
    options: argparse.Namespace, scratch: Path
) -> tuple[list[float], list[float], dict[str, float]]:
    """Seconds a step of the loop and of the Trainer, round by round; and of each of our hooks."""
    loops, trainers, steps = [], [], 0
    spent: dict[str, float] = defaultdict(float)
    for number in range(options.rounds + 1):
        cli, clock = build(options.size, options.epochs, scratch), Clock()
        with timed_hooks(cli, spent):
            cli.trainer.callbacks.append(clock)
            cli.trainer.fit(cli.model, cli.datamodule)
        if number == 0:  # it warms up
            spent.clear()
            continue
        steps += cli.trainer.global_step
        trainers.append(clock.seconds_a_step())
        loops.append(bare_loop(cli))
    return loops, trainers, {key: seconds / steps for key, seconds in spent.items()}


def main(argv: list[str] | None = None) -> None:
    """Print where our fraction goes, and one line for the table."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--size", help="a named ViT at 224 px: Ti/16")
    parser.add_argument(
        "--epochs", type=int, default=10, help="of each round, with 20 steps each; with --size 5"
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    quieten()
    with TemporaryDirectory() as scratch:
        loops, trainers, hooks = measure(options, Path(scratch))
    for key, seconds in sorted(hooks.items(), key=lambda item: -item[1]):
        print(f"  ours, {key:<38} {1e3 * seconds:.3f} ms a step")
    ratios = [trainer / loop for trainer, loop in zip(trainers, loops, strict=True)]
    measured = (
        f"bare loop {1e3 * statistics.median(loops):.2f} ms a step, "
        f"Trainer {1e3 * statistics.median(trainers):.2f} ms, "
        f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); "
        f"ours {1e3 * sum(hooks.values()):.2f} ms; {options.rounds} rounds"
    )
    size = options.size
    what = f"ViT-{size} at 224 px: at most 5 %" if size else "the quick start: a few %"
    print(json.dumps({"claim": CLAIM + what, "measured": measured}))


if __name__ == "__main__":
    main()

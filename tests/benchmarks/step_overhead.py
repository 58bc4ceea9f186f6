"""What the Trainer, and what is ours in it, adds to a bare training step of the quick start.

    python tests/benchmarks/step_overhead.py [rounds] [--size Ti/16]

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
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp

import torch
from lightning.pytorch import Callback

from vit.callbacks.checkpoints import Checkpoints
from vit.callbacks.run import Plan, Run
from vit.callbacks.run_log import RunLog
from vit.callbacks.speed import Speed
from vit.cli.engine import CLI
from vit.lightning_workarounds import quieten
from vit.module import ViTModule

EPOCHS = 10  # of 20 steps, a round; with --size 1 of 5
HOOKS = (
    (ViTModule, "on_train_batch_start"), (ViTModule, "progress"), (Run, "on_train_batch_end"),
    (Speed, "on_train_batch_start"), (Speed, "on_train_batch_end"), (Speed, "on_train_epoch_end"),
    (Checkpoints, "on_train_batch_end"),
)  # fmt: skip


def build(size: str | None) -> CLI:
    """The quick start, short, without validation and bar, in a scratch folder."""
    plan = Plan("fit", None, Path(mkdtemp()), 0, "benchmark")
    large = [
        "--data.image_size=224", "--data.batch_size=8", f"--model.encoder.size={size}",
        *(f"--model.encoder.{key}=null" for key in ("width", "depth", "heads", "mlp_width")),
        "--trainer.limit_train_batches=5", "--trainer.log_every_n_steps=5",
        "--trainer.max_epochs=1",
    ]  # fmt: skip
    return CLI([
        "--config=configs/quickstart.yaml", f"--trainer.max_epochs={EPOCHS}",
        "--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false", *(large if size else ()),
    ], plan, RunLog())  # fmt: skip


class Clock(Callback):
    """When the first step and the last one ended: the first allocates, here and in the loop."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.ends.append(time.process_time())

    def seconds(self) -> float:
        """Of a step."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def bare(cli: CLI) -> float:
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
    return clock.seconds()


def timed(spent: dict[str, float]) -> None:
    """Wrap our hooks so that each adds up its own seconds."""
    for family, name in HOOKS:
        honest = vars(family)[name]
        call = honest.fget if isinstance(honest, property) else honest

        def clocked(*args, _call=call, _key=f"{family.__name__}.{name}"):
            started = time.process_time()
            try:
                return _call(*args)
            finally:
                spent[_key] += time.process_time() - started

        setattr(family, name, property(clocked) if isinstance(honest, property) else clocked)


def main(rounds: int, size: str | None) -> None:
    """Print the medians and where our share goes."""
    torch.set_num_threads(1)
    quieten()
    spent: dict[str, float] = defaultdict(float)
    timed(spent)
    loops, trainers, steps = [], [], 0
    for number in range(rounds + 1):  # the first warms up
        cli, clock = build(size), Clock()
        cli.trainer.callbacks.append(clock)
        cli.trainer.fit(cli.model, cli.datamodule)
        if number == 0:
            spent.clear()
            continue
        steps += cli.trainer.global_step
        trainers.append(clock.seconds())
        loops.append(bare(cli))
    ratios = [a / b for a, b in zip(trainers, loops, strict=True)]
    said = (
        f"bare loop {1e3 * statistics.median(loops):.2f} ms a step, "
        f"Trainer {1e3 * statistics.median(trainers):.2f} ms, "
        f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f} over "
        f"{rounds} rounds); ours {1e3 * sum(spent.values()) / steps:.2f} ms"
    )
    print(said)
    for key, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  ours, {key:<38} {1e3 * seconds / steps:.3f} ms a step")

    what = "the Trainer, and what is ours in it, add to a bare training step of "
    claim = f"{what}{f'ViT-{size} at 224 px: at most 5 %' if size else 'the quick start: a few %'}"
    print(json.dumps({"claim": claim, "measured": said}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--size", help="a named ViT at 224 px: Ti/16")
    options = parser.parse_args()
    main(options.rounds, options.size)

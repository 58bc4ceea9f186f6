"""What a step of an objective costs beside a supervised step of the same encoder and images.

    python tests/benchmarks/step_objectives.py [--size B/16] [--depth 12] [--batch 8] [--rounds 3]

MAE is to be as much faster as its FLOPs are fewer (at least 0.85 of that ratio); DINO with two
large and eight small views at most 4.7 times a supervised step. A step is forward, backward, AdamW
and what follows it (teacher, centre), 224 px, float32. The arms take turns; on a CPU one thread and
CPU time, on a GPU, which is used where there is one, CUDA events.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace

import torch

from vit.batch import DataSpec, dummy_batch
from vit.flops import training_flops
from vit.models import ViT
from vit.objectives.base import Objective
from vit.objectives.dino import DINO
from vit.objectives.mae import MAE
from vit.objectives.supervised import Supervised

SOURCES = (
    "src/vit/batch.py", "src/vit/flops.py", "src/vit/models/block.py", "src/vit/ema.py",
    "src/vit/models/sizes.py", "src/vit/models/vit.py", "src/vit/objectives/base.py",
    "src/vit/objectives/dino.py", "src/vit/objectives/mae.py", "src/vit/objectives/supervised.py",
    "src/vit/objectives/parts", "src/vit/patches.py",
)  # fmt: skip
CLAIM = """MAE's step is at least 0.85 of as much faster than a supervised one as its FLOPs are \
fewer; DINO's, 2 + 8 views, at most 4.7 times as long"""
FEW_IMAGES = "the same at {} images a step, where AdamW's fraction of MAE's decoder shows"
SPEC = DataSpec(tuple(map(str, range(1000))), (224, 224), 3, (0.5,) * 3, (0.5,) * 3)


class Arm:
    """An objective on an encoder of its own."""

    def __init__(self, kind: type[Objective], size: str, depth: int | None, batch: int) -> None:
        encoder = ViT(SPEC, size=size, depth=depth, gelu="exact")
        self.objective = kind(encoder, SPEC)
        self.flops = training_flops(self.objective, SPEC)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.objective.to(self.device).train()
        learned = [p for p in self.objective.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=True)
        shown = dummy_batch(SPEC, self.objective.views, batch).to(self.device)
        self.batch = replace(shown, views=[torch.rand_like(view) for view in shown.views])
        self.seconds: list[float] = []

    def step(self) -> None:
        """Make one step and time it."""
        if self.device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            self._work()
            end.record()
            torch.cuda.synchronize()
            self.seconds.append(start.elapsed_time(end) / 1000)
            return
        started = time.process_time()
        self._work()
        self.seconds.append(time.process_time() - started)

    def _work(self) -> None:
        loss = self.objective(self.batch, 0.5).loss
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.objective.after_step(0.5)


def compare(name: str, arm: Arm, base: Arm) -> str:
    """An arm's time and FLOPs as ratios to the supervised arm's; its first round warms up."""
    pairs = zip(arm.seconds[1:], base.seconds[1:], strict=True)
    ratios = sorted(seconds / supervised for seconds, supervised in pairs)
    middle, flops = statistics.median(ratios), arm.flops / base.flops
    return (
        f"{name} {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) of a supervised step, its "
        f"FLOPs {flops:.2f}: {flops / middle:.2f} of the speed that they promise"
    )


def main(argv: list[str] | None = None) -> None:
    """Let the arms take turns, then print one line for the table."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--size", default="B/16")
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    kinds = {"supervised": Supervised, "MAE": MAE, "DINO 2+8": DINO}
    arms = {
        name: Arm(kind, options.size, options.depth, options.batch) for name, kind in kinds.items()
    }
    for _ in range(options.rounds + 1):
        for arm in arms.values():
            arm.step()
    base = arms.pop("supervised")
    texts = [compare(name, arm, base) for name, arm in arms.items()]
    measured = (
        f"{options.size}, {options.depth} blocks, batch {options.batch}: {'; '.join(texts)}; "
        f"{options.rounds} rounds"
    )
    claim = CLAIM if options.batch >= 8 else FEW_IMAGES.format(options.batch)
    print(json.dumps({"claim": claim, "measured": measured}))


if __name__ == "__main__":
    main()

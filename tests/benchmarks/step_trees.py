"""Images a second of whole training steps of small encoders on one core; two trees side by side.

    python tests/benchmarks/step_trees.py [--other FOLDER/src] [--objectives mae,lejepa]
                                          [--encoders mini,small32] [--batch 128] [--rounds 5]

A step gathers 32 px images of an array, cuts and normalises the views, goes forward and backward,
bounds the gradient, lets AdamW (fused) step and teachers follow; float32, one thread, CPU time. The
images are noise; objectives and encoders are leaves of configs/. With --other, the sources of
another checkout take turns with these, each in a process of its own, and ratios are per round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from jsonargparse import ArgumentParser

from vit.batch import DataSpec, LoaderContext
from vit.data.base import Images
from vit.data.in_memory import InMemory
from vit.data.sampling import BatchIndices
from vit.data.transforms import Augmentation
from vit.models.base import Encoder
from vit.objectives.base import Objective
from vit.optim.clipping import Clip

SOURCES = (
    "configs/encoder", "configs/objective", "src/vit/batch.py", "src/vit/data/base.py",
    "src/vit/data/in_memory.py", "src/vit/data/multi_crop.py", "src/vit/data/photometric.py",
    "src/vit/data/random_crop.py", "src/vit/data/sampling.py", "src/vit/data/transforms.py",
    "src/vit/freed_memory.py", "src/vit/models/base.py", "src/vit/models/block.py",
    "src/vit/models/vit.py", "src/vit/objectives", "src/vit/optim/clipping.py",
)  # fmt: skip
CLAIM = "whole training steps of small encoders on 32 px images, float32, one core"
ROOT = Path(__file__).parents[2]
SPEC = DataSpec(tuple("0123456789"), (32, 32), 3, (0.5,) * 3, (0.25,) * 3)
OBJECTIVES = "supervised,mpp,mae,simmim,dino,ibot,lejepa,vicreg,simclr,ssat"


class Noise(Images):
    """Images of noise in memory, cropped and flipped as CIFAR is."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(batch_size, augmentation=Augmentation(padding=4, flip=True))
        self.spec = SPEC

    def open(self, split: str) -> InMemory:
        """1,024 images, the same each time."""
        random = torch.Generator().manual_seed(0)
        images = torch.randint(256, (1024, 3, 32, 32), dtype=torch.uint8, generator=random)
        return InMemory(images, torch.arange(1024) % 10)

    def split_indices(self) -> dict[str, list[int]]:
        """One split."""
        return {"train": list(range(1024))}


class Arm:
    """An objective on an encoder, and all that a step of it needs."""

    def __init__(self, objective: str, encoder: str, batch: int) -> None:
        parser = ArgumentParser()
        parser.add_argument("--encoder", type=Callable[[DataSpec], Encoder])
        parser.add_argument("--objective", type=Callable[[Encoder, DataSpec], Objective])
        leaves = {"encoder": encoder, "objective": objective}
        files = {key: ROOT / "configs" / key / f"{name}.yaml" for key, name in leaves.items()}
        parts = {key: yaml.safe_load(file.read_text()) for key, file in files.items()}
        built = parser.instantiate(parser.parse_object(parts))
        torch.manual_seed(0)
        self.objective = built.objective(built.encoder(SPEC), SPEC).train()
        self.learned = [p for p in self.objective.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.learned, lr=1e-4, fused=True)
        self.data, self.clip, self.batch, self.steps = Noise(batch), Clip(), batch, 0
        self.images = self.data.open("train")
        self.context = LoaderContext(views=self.objective.views)

    def step(self) -> float:
        """One step; its loss."""
        first = self.steps * self.batch
        index = [i % len(self.images) for i in range(first, first + self.batch)]
        batch = self.data.show(self.images[BatchIndices(0, index)], self.context, training=True)
        self.optimizer.zero_grad()
        loss = self.objective(batch, 0.5).loss
        loss.backward()
        self.objective.before_step(0.5)
        self.clip([p for p in self.learned if p.grad is not None])
        self.optimizer.step()
        self.objective.after_step(0.5)
        self.steps += 1
        return float(loss.detach())

    def seconds(self) -> float:
        """CPU seconds of one step."""
        started = time.process_time()
        self.step()
        return time.process_time() - started


def keep_memory_where_a_fit_does() -> None:
    """Do what `fit` does before its first step; an older tree may do nothing."""
    try:
        from vit.freed_memory import keep_freed_memory
    except ImportError:
        return
    keep_freed_memory()


def serve() -> None:
    """Be one tree: make the arms that stdin asks for, line by line, and time their steps."""
    torch.set_num_threads(1)
    keep_memory_where_a_fit_does()
    arms: dict[str, Arm] = {}
    for line in sys.stdin:
        objective, encoder, batch = line.split()
        if line not in arms:
            arms = {line: Arm(objective, encoder, int(batch))}  # one at a time in memory
            arms[line].step()
        print(arms[line].seconds(), flush=True)


class Tree:
    """A process that trains with the sources of one checkout."""

    def __init__(self, source: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        )

    def seconds(self, arm: str) -> float:
        """CPU seconds of one step of an arm: its objective, encoder and images."""
        self.process.stdin.write(f"{arm}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> None:
        """No more arms."""
        self.process.communicate()


def compare(trees: list[Tree], arm: str, rounds: int) -> str:
    """Images a second of the first tree, and its speed as a ratio to the other's."""
    times = [[tree.seconds(arm) for tree in trees] for _ in range(rounds)]
    objective, encoder, batch = arm.split()
    speed = int(batch) / statistics.median(row[0] for row in times)
    text = f"{objective} {encoder} {speed:,.0f} images/s"
    if len(trees) == 1:
        return text
    ratios = sorted(row[1] / row[0] for row in times)
    middle = statistics.median(ratios)
    return f"{text}, {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) of the other tree's"


def main(argv: list[str] | None = None) -> None:
    """Let the trees take turns, then print one line for the table."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--other", type=Path, help="src of another checkout")
    parser.add_argument("--objectives", default=OBJECTIVES)
    parser.add_argument("--encoders", default="mini,small32")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help="be one tree; for this script alone")
    options = parser.parse_args(argv)
    if options.serve:
        serve()
        return
    trees = [Tree(source) for source in (ROOT / "src", options.other) if source]
    texts = []
    for encoder in options.encoders.split(","):
        for objective in options.objectives.split(","):
            texts.append(compare(trees, f"{objective} {encoder} {options.batch}", options.rounds))
            print(f"  {texts[-1]}", flush=True)
    for tree in trees:
        tree.end()
    measured = f"batch {options.batch}: {'; '.join(texts)}; {options.rounds} rounds"
    print(json.dumps({"claim": CLAIM, "measured": measured}))


if __name__ == "__main__":
    main()

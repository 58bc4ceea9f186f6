"""One training step of our ViT against timm's, transformers' and torchvision's of the same size.

    python tests/benchmarks/step_peers.py [--size S/16] [--batch 8] [--rounds 7] [--bf16]
                                          [--compile]

A step is forward, cross-entropy, backward, fused AdamW, on the same images of 224 px and 1,000
classes. All compute the same function: exact GELU (ours has tanh by default, for the paper's code),
LayerNorm with 1e-6, no dropout, scaled dot product attention; the numbers of parameters are
asserted to be equal. The arms take turns in rotating order. On a CPU one thread and CPU time; on
a GPU, which is used where there is one, CUDA events. --compile compiles every arm's blocks, one by
one. A peer that is not installed is left out: pip install -e ".[peers]" brings all.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import DataSpec
from vit.models import ViT
from vit.models.sizes import resolve
from vit.objectives.supervised import Supervised

SOURCES = (
    "src/vit/batch.py", "src/vit/models/block.py", "src/vit/models/sizes.py",
    "src/vit/models/vit.py", "src/vit/objectives/supervised.py", "src/vit/patches.py",
)  # fmt: skip
PIXELS, CLASSES = 224, 1000


@dataclass
class Arm:
    """A model, how it makes logits, its blocks, and its seconds a step in every round."""

    model: nn.Module
    logits: Callable[[Tensor], Tensor]
    blocks: nn.Module
    seconds: list[float]

    def start(self, device: str, compiled: bool) -> None:
        """Move, compile and give it an optimiser."""
        self.model.to(device).train()
        for block in self.blocks.children() if compiled else ():
            block.compile(dynamic=False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)

    def step(self, images: Tensor, labels: Tensor, bf16: bool) -> None:
        """One optimiser step on one batch."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(self.logits(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def ours(size: str) -> Arm:
    """Our encoder under the supervised objective's head."""
    norm = (0.5,) * 3
    spec = DataSpec(tuple(map(str, range(CLASSES))), (PIXELS, PIXELS), 3, norm, norm)
    model = Supervised(ViT(spec, size=size, gelu="exact"), spec)
    return Arm(model, lambda images: model.predict(images)["logits"], model.encoder.blocks, [])


def timm(size: str) -> Arm:
    """timm.models.VisionTransformer."""
    from timm.models import VisionTransformer

    shape = dimensions(size)
    model = VisionTransformer(
        img_size=PIXELS, patch_size=shape["patch_size"], num_classes=CLASSES,
        embed_dim=shape["width"], depth=shape["depth"], num_heads=shape["heads"],
        mlp_ratio=shape["mlp_width"] / shape["width"],
    )  # fmt: skip
    return Arm(model, model, model.blocks, [])


def transformers(size: str) -> Arm:
    """transformers.ViTForImageClassification, attention sdpa."""
    from transformers import ViTConfig, ViTForImageClassification

    shape = dimensions(size)
    model = ViTForImageClassification(ViTConfig(
        image_size=PIXELS, patch_size=shape["patch_size"], num_labels=CLASSES,
        hidden_size=shape["width"], num_hidden_layers=shape["depth"],
        num_attention_heads=shape["heads"], intermediate_size=shape["mlp_width"],
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, layer_norm_eps=1e-6,
        attn_implementation="sdpa",
    ))  # fmt: skip
    layers = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    (blocks,) = [layer for layer in layers if len(layer) == shape["depth"]]
    return Arm(model, lambda images: model(pixel_values=images).logits, blocks, [])


def torchvision(size: str) -> Arm:
    """torchvision.models.VisionTransformer."""
    from torchvision.models import VisionTransformer

    shape = dimensions(size)
    model = VisionTransformer(
        image_size=PIXELS, patch_size=shape["patch_size"], num_classes=CLASSES,
        num_layers=shape["depth"], num_heads=shape["heads"], hidden_dim=shape["width"],
        mlp_dim=shape["mlp_width"],
    )  # fmt: skip
    return Arm(model, model, model.encoder.layers, [])


def dimensions(size: str) -> dict[str, int]:
    """Width, depth, heads, mlp_width and patch_size of a named size."""
    return resolve(size, None, None, None, None, None)


def build(size: str) -> dict[str, Arm]:
    """Every arm whose package is installed; they must have as many parameters as ours."""
    arms, count = {}, 0
    for make in (ours, timm, transformers, torchvision):
        name = make.__name__
        if name != "ours" and importlib.util.find_spec(name) is None:
            print(f'{name}: not installed, left out; pip install -e ".[peers]"')
            continue
        arms[name] = make(size)
        parameters = sum(p.numel() for p in arms[name].model.parameters())
        count = count or parameters
        assert parameters == count, f"{name} has {parameters:,} parameters, ours {count:,}"
    print(f"ViT-{size}: {count:,} parameters in each of {', '.join(arms)}")
    return arms


def clocked(work: Callable[[], None], steps: int, device: str) -> float:
    """Seconds of one call: CPU time on a CPU, between two events on a GPU."""
    if device == "cpu":
        started = time.process_time()
        for _ in range(steps):
            work()
        return (time.process_time() - started) / steps
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(steps):
        work()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3 / steps


def take_turns(arms: dict[str, Arm], options: argparse.Namespace, device: str) -> None:
    """Warm every arm up, then time them in rotating order."""
    images = torch.randn(options.batch, 3, PIXELS, PIXELS, device=device)
    labels = torch.randint(CLASSES, (options.batch,), device=device)
    warm, steps = (20, 50) if device == "cuda" else (1, 2)
    for arm in arms.values():
        arm.start(device, options.compile)
        clocked(lambda arm=arm: arm.step(images, labels, options.bf16), warm, device)
    order = list(arms.values())
    for _ in range(options.rounds):
        order = [*order[1:], order[0]]
        for arm in order:
            work = lambda arm=arm: arm.step(images, labels, options.bf16)  # noqa: E731
            arm.seconds.append(clocked(work, steps, device))


def main(argv: list[str] | None = None) -> None:
    """Print a table and one line for the table of all benchmarks."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--size", default="Ti/16", help="Ti/16, S/16, ...")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args(argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")  # as train.py; no effect on CPUs
    torch.manual_seed(0)
    arms = build(options.size)
    take_turns(arms, options, device)

    mine, texts = arms.pop("ours").seconds, []
    print(f"{'':<13}{'ms a step':>10}   ours / it, median (range over {options.rounds} rounds)")
    print(f"{'ours':<13}{1e3 * statistics.median(mine):>10.2f}")
    for name, arm in arms.items():
        ratios = sorted(a / b for a, b in zip(mine, arm.seconds, strict=True))
        ratio = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        texts.append(f"{ratio} of {name}'s time")
        print(f"{name:<13}{1e3 * statistics.median(arm.seconds):>10.2f}   {ratio}")
    how = f"{'bf16 autocast' if options.bf16 else 'float32'}{', compiled' * options.compile}"
    claim = (
        f"a training step of ViT-{options.size} at {PIXELS} px, batch {options.batch}, {how}, is "
        "not slower than its peers'"
    )
    measured = (
        f"{1e3 * statistics.median(mine):.1f} ms: {', '.join(texts)}; {options.rounds} rounds"
    )
    print(json.dumps({"claim": claim, "measured": measured}))


if __name__ == "__main__":
    main()

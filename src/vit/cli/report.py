"""What a run says when it is done: what was reached, how fast, and what to type next."""

import shlex
from pathlib import Path

from vit.cli.engine import CLI

SHARES = ("accuracy", "accuracy_random", "top5", "most_common", "data_wait", "mfu")
SPEED = ("images_per_second", "data_wait", "memory_gb", "mfu")


def table(metrics: dict[str, float], speed: dict[str, float], note: str = "") -> list[str]:
    """One line a value; fractions in percent."""
    lines = [f"{name:<28} {shown(name, value)}" for name, value in metrics.items()]
    lines += [note] if note else []
    if speed:
        parts = [f"{speed['images_per_second']:,.0f} images/s"]
        parts += [f"{speed['data_wait']:.1%} of it waiting for data"]
        parts += [f"{speed['memory_gb']:.2f} GB"]
        if "mfu" in speed:
            parts += [f"{speed['mfu']:.1%} of the data sheet's peak"]
        lines.append(f"{'speed':<28} {', '.join(parts)}")
    return lines


def shown(name: str, value: float) -> str:
    """A fraction in percent, anything else as it is."""
    return f"{100 * value:.1f} %" if name.endswith(SHARES) else f"{value:.4f}"


def older(cli: CLI) -> str:
    """A warning where the last validation was not of the last weights."""
    step = cli.model.validated
    if cli.plan.verb != "fit" or step in (-1, cli.trainer.global_step):
        return ""
    return f"{'note':<28} val/ figures are of step {step}, not of the last one"


def next_command(cli: CLI, folder: Path, argv: list[str]) -> str:
    """What people mostly do after such a fit."""
    objective, metrics = cli.model.eval_objective, cli.run_callback.metrics
    if not hasattr(objective, "predict"):
        data = data_words(argv)
        return (
            "python train.py fit --config configs/finetune/default.yaml "
            f"{data}--model.pretrained {folder}"
        )
    if any(name.startswith("test/") for name in metrics):
        return f"python train.py predict --from {folder}"
    return f"python train.py test --from {folder}"


def data_words(argv: list[str]) -> str:
    """The words of a command line that chose the data."""
    words, wanted = [], False
    for word in argv:
        if word.startswith("-"):
            wanted = word.split("=")[0] == "--data" or word.startswith("--data.root")
        if wanted:
            words.append(shlex.quote(word))
    return "".join(f"{word} " for word in words)

"""What a run prints when it is done: what was reached, how fast, and what to type next."""

import shlex

from vit.callbacks.run import Run
from vit.cli.engine import CLI
from vit.module import ViTModule

FRACTIONS = (  # endings of their names; shown in percent
    "accuracy",
    "accuracy_random",
    "top5",
    "most_common",
    "probe/knn",
    "probe/knn_random",
    "probe/knn_pixels",
    "probe/linear",
)


def summary_table(metrics: dict[str, float], speed: dict[str, float], note: str = "") -> list[str]:
    """One line a value; fractions in percent."""
    lines = [f"{name:<28} {as_text(name, value)}" for name, value in metrics.items()]
    lines += [note] if note else []
    if speed:
        parts = [f"{speed['images_per_second']:,.0f} images/s"]
        parts += [f"{speed['data_wait']:.1%} of it waiting for data"]
        parts += [f"{speed['memory_gb']:.2f} GB"]
        if "mfu" in speed:
            parts += [f"{speed['mfu']:.1%} of the data sheet's peak"]
        lines.append(f"{'speed':<28} {', '.join(parts)}")
    return lines


def as_text(name: str, value: float) -> str:
    """A fraction in percent, anything else as it is."""
    return f"{100 * value:.1f} %" if name.endswith(FRACTIONS) else f"{value:.4f}"


def older(cli: CLI) -> str:
    """A warning where the last validation was not of the last weights."""
    step = cli.model.validated
    if cli.plan.verb != "fit" or step in (-1, cli.trainer.global_step):
        return ""
    return f"{'note':<28} val/ figures are of step {step}, not of the last one"


def next_command(module: ViTModule, run: Run, argv: list[str]) -> str:
    """What people mostly do after such a fit.

    Args:
        module: trained.
        run: its metrics and its folder.
        argv: the command line of the fit.
    """
    folder = run.files.folder
    if not hasattr(module.eval_objective, "predict"):
        return (
            "python train.py fit --config configs/finetune/default.yaml "
            f"{data_argv(argv)}--model.pretrained {folder}"
        )
    if any(name.startswith("test/") for name in run.metrics):
        return f"python train.py predict --from {folder}"
    return f"python train.py test --from {folder}"


def data_argv(argv: list[str]) -> str:
    """The part of a command line that chose the data, to be typed again."""
    kept, is_data = [], False
    for word in argv:
        if word.startswith("-"):
            is_data = word.split("=")[0] == "--data" or word.startswith("--data.root")
        if is_data:
            kept.append(shlex.quote(word))
    return "".join(f"{word} " for word in kept)

"""Settings that come out of a file are data: they build what is listed here, and nothing else.

A checkpoint and a run folder carry the settings that they were made with, and going on with them
means to build classes by their names. Whoever hands such a file on could name any class of any
package, so names are held against a list before anything is parsed or imported (SECURITY.md).
"""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vit.cli.errors import UsageError
from vit.cli.renamed import CLASSES
from vit.yaml_text import load_yaml

ROOMS = tuple(  # of ours: what YAML builds
    f"vit.{room}." for room in ("models", "objectives", "data", "optim", "callbacks")
)
SINGLE = ("vit.sharding.FullyShard",)
OPTIMIZERS = "torch.optim."
LIGHTNING = {  # class: arguments that are plain and harmless; all others must be null
    "callbacks.DeviceStatsMonitor": "cpu_stats",
    "callbacks.EarlyStopping": "monitor min_delta patience verbose mode strict check_finite "
    "stopping_threshold divergence_threshold check_on_train_epoch_end log_rank_zero_only",
    "callbacks.LearningRateMonitor": "logging_interval log_momentum log_weight_decay",
    "callbacks.ModelSummary": "max_depth",
    "callbacks.RichModelSummary": "max_depth",
    "callbacks.RichProgressBar": "refresh_rate leave theme",
    "callbacks.TQDMProgressBar": "refresh_rate process_position leave",
    "plugins.environments.SLURMEnvironment": "auto_requeue requeue_signal",
    "strategies.DDPStrategy": "batched_grad_copy broadcast_buffers bucket_cap_mb "
    "bucket_cap_mb_list check_reduction dim find_unused_parameters forward_sync_buffers "
    "gradient_as_bucket_view init_sync lazy_bucket_allocation model_averaging_period "
    "output_device process_group_backend skip_all_reduce_unused_params start_method static_graph "
    "timeout",
}
CLASS_KEYS = {  # keys whose values are classes: a bare word there would be imported
    "data",
    "model.encoder",
    "model.objective",
    "model.optimizer",
    "model.schedule",
    "model.weight_decay_schedule",
    "trainer.callbacks",
    "trainer.plugins",
}
PARTS = ("trainer", "model", "data")  # of every run
PLAIN = {  # keys whose values are words of Lightning's, or classes with their settings
    "trainer.strategy": re.compile(r"[a-z0-9_]+"),
    "trainer.accelerator": re.compile(r"[a-z]+"),
    "trainer.profiler": re.compile(r"simple|advanced|pytorch"),
}
NO_KEYS = {"config", "__path__"}  # of the parser's own, which read further files
EMPTY = ("model.spec", "trainer.default_root_dir", "trainer.model_registry")  # never recorded


def importable(trusted: tuple[str, ...]) -> list[str]:
    """What the parser may import while it reads a stored config, also where it is defined."""
    defined = []
    for name in known_lightning():
        room, _, last = name.rpartition(".")
        kind = getattr(importlib.import_module(room), last)
        defined.append(f"{kind.__module__}.{last}")
    return [*importable_rooms(trusted), *SINGLE, *known_lightning(), *defined]


def importable_rooms(trusted: tuple[str, ...]) -> list[str]:
    """The packages among it; Lightning, which takes seconds, is not asked for its classes."""
    return [*(room.removesuffix(".") for room in (*ROOMS, OPTIMIZERS)), *trusted]


def known_lightning() -> dict[str, set[str]]:
    """Arguments by class, under the name that a class is recorded by."""
    return {f"lightning.pytorch.{name}": set(text.split()) for name, text in LIGHTNING.items()}


def check_settings(
    settings: dict[str, Any], where: Path, trusted: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The settings of a stored config, each class of which is listed.

    Args:
        settings: as YAML reads them.
        where: the file that holds them.
        trusted: modules whose classes the person allowed.

    Raises:
        ValueError: naming the file, the key and what stands there.
    """
    for key, value in walk_settings(settings, ""):
        check_text(key, value, where)
        if isinstance(value, dict) and "class_path" in value:
            check_class(key, value, where, trusted)
        elif key in CLASS_KEYS and not isinstance(value, dict | list | None):
            raise ValueError(f"{where}: {key} is {value!r}, no class with its settings")
        elif key in EMPTY and value is not None:
            raise ValueError(f"{where}: {key} is {value!r}; a run of this project has none there")
    return settings


def check_text(key: str, value: Any, where: Path) -> None:
    """No text that the parser would read as more than text, no key that means several."""
    if isinstance(value, str):
        pattern = PLAIN.get(key)
        if "class_path" in value or (pattern and not pattern.fullmatch(value)):
            raise ValueError(f"{where}: {key} is {value[:80]!r}, no plain word")
    elif isinstance(value, dict) and key in ("", "trainer", "model", "data"):
        odd = [name for name in value if "." in str(name) or name in NO_KEYS]
        if odd:
            raise ValueError(f"{where}: {key or 'it'} has a key {odd[0]!r}, which no run records")


def walk_settings(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every value with its key, at any depth; items of a list go by the list's key."""
    yield key, value
    if isinstance(value, dict):
        for name, part in value.items():
            inside = f"{key}.{name}" if key else str(name)
            yield from walk_settings(part, inside.replace(".init_args.", "."))
    elif isinstance(value, list):
        for part in value:
            yield from walk_settings(part, key)


def check_class(key: str, value: dict, where: Path, trusted: tuple[str, ...]) -> None:
    """One class of a stored config."""
    name, arguments = value["class_path"], value.get("init_args") or {}
    odd = sorted(map(str, value.keys() - {"class_path", "init_args"}))
    if odd or not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"{where}: {key} is no class with its settings ({odd or name!r})")
    if name.startswith(tuple(f"{module}." for module in trusted)):
        return
    module = name.partition(".")[0]
    if name in known_lightning():
        given = {argument for argument, set_ in arguments.items() if set_ is not None}
        unknown = sorted(given - known_lightning()[name])
        if unknown:
            raise ValueError(
                f"{where}: {key}.{unknown[0]} of {name} is not built from a file; "
                f"if you know why it is there: --trust {module}"
            )
    elif name in CLASSES:
        raise ValueError(
            f"{where}: {key} names {name}, which is called {CLASSES[name].rstrip(',')} now; "
            "use the version of this project that made the file"
        )
    elif not is_listed(name):
        raise ValueError(
            f"{where}: {key} names {name}, which is not built from a file; if you know that "
            f"package: --trust {module}"
        )


def is_listed(name: str) -> bool:
    """Is it a class, no function, of the rooms that YAML builds from?"""
    if not name.startswith((*ROOMS, OPTIMIZERS)) and name not in SINGLE:
        return False
    room, _, last = name.rpartition(".")
    try:
        return isinstance(getattr(importlib.import_module(room), last, None), type)
    except (ImportError, ValueError):
        return False


def trusted_modules(text: str | None) -> tuple[str, ...]:
    """The modules of --trust, imported: their classes are then known like our own.

    Raises:
        UsageError: one is not there.
    """
    names = tuple(name for name in (text or "").split(",") if name)
    for name in names:
        try:
            importlib.import_module(name)
        except (ImportError, TypeError, ValueError) as error:
            raise UsageError(f"--trust: no module {name!r} ({error})") from error
    return names


def settings_of(text: str, where: Path, trusted: tuple[str, ...]) -> dict[str, Any]:
    """Checked settings out of a stored config's text.

    Raises:
        ValueError: they are damaged, or name what is not listed.
    """
    return check_settings(whole_settings(text, where), where, trusted)


def objective_in(text: str, where: Path, trusted: tuple[str, ...]) -> dict[str, Any]:
    """The checked objective of a stored config, for whoever builds nothing else of it.

    Raises:
        ValueError: it is damaged, or names what is not listed.
    """
    chosen = whole_settings(text, where)["model"].get("objective")
    return check_settings({"model": {"objective": chosen}}, where, trusted)["model"]["objective"]


def whole_settings(text: str, where: Path) -> dict[str, Any]:
    """The settings of a stored config, none of whose parts is missing; its classes unchecked.

    Raises:
        ValueError: they are damaged.
    """
    settings = load_yaml(text, str(where))
    parts = [settings.get(part) for part in PARTS] if isinstance(settings, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(
            f"{where}: its settings are damaged (it needs {', '.join(PARTS)}); begin a new run"
        )
    return settings

"""Old runs keep their meaning: a changed default bumps the identity version.

`python tests/contract/test_defaults.py` writes the file anew; a new argument needs no bump.
"""

import importlib
import json
import pkgutil
from pathlib import Path

import vit
from vit.compare.identity import VERSION, is_group, parameters
from vit.data.base import Images
from vit.data.erasing import Erasing
from vit.data.randaugment import RandAugment
from vit.data.transforms import Augmentation
from vit.models.base import Encoder
from vit.module import ViTModule
from vit.objectives.base import Objective
from vit.objectives.parts.mixing import Mixing
from vit.optim.clipping import Clip
from vit.optim.schedules import Schedule

FILE = Path(__file__).parent / "defaults.json"


def classes() -> list[type]:
    """Everything that a run's YAML can name, and the groups of settings in it."""
    for room in ("data", "models", "objectives"):
        for found in pkgutil.iter_modules([str(Path(vit.__file__).parent / room)]):
            importlib.import_module(f"vit.{room}.{found.name}")
    found, todo = (
        [ViTModule, Augmentation, RandAugment, Erasing, Mixing, Clip],
        [Images, Encoder, Objective],
    )
    todo.append(Schedule)
    while todo:
        family = todo.pop()
        todo += family.__subclasses__()
        if family.__module__.startswith("vit."):
            found.append(family)
    return found


def now() -> dict[str, dict[str, str]]:
    """Class by class, the defaults that ids leave out."""
    return {
        f"{family.__module__}.{family.__qualname__}": {
            key: repr(default)
            for name, parameter in parameters(family).items()
            if parameter.default is not parameter.empty
            for key, default in written_out(name, parameter.default).items()
        }
        for family in classes()
    }


def written_out(name: str, default: object) -> dict[str, object]:
    """A default, or those of a whole group of settings by their keys."""
    if is_group(default):
        return {f"{name}.{key}": value for key, value in vars(default).items()}
    return {name: default}


def complaints(held: dict, version: int, found: dict[str, dict[str, str]]) -> list[str]:
    """What forbids to go on under the same version."""
    lines = []
    for family, defaults in held["defaults"].items():
        for name, default in defaults.items():
            here = found.get(family, {}).get(name, default)  # gone: its runs cannot be made
            if here != default and version == held["version"]:
                lines.append(f"{family}({name}) was {default}, is {here}: raise identity.VERSION")
        lines += [
            f"{family}({name}) is new: write {FILE.name} anew"
            for name in set(found.get(family, {})) - set(defaults)
        ]
    return lines


def test_no_default_changes_under_the_same_version():
    assert not complaints(json.loads(FILE.read_text()), VERSION, now())


def test_a_changed_default_is_noticed_until_the_version_is_raised():
    held = json.loads(FILE.read_text())
    held["defaults"]["vit.module.ViTModule"]["layer_decay"] = "0.75"
    assert any("layer_decay" in line for line in complaints(held, VERSION, now()))
    assert not complaints(held, VERSION + 1, now())


def test_a_new_argument_asks_to_be_written_down():
    held = json.loads(FILE.read_text())
    del held["defaults"]["vit.module.ViTModule"]["ema"]
    assert complaints(held, VERSION, now()) == [
        "vit.module.ViTModule(ema) is new: write defaults.json anew"
    ]


if __name__ == "__main__":
    FILE.write_text(json.dumps({"version": VERSION, "defaults": now()}, indent=1) + "\n")

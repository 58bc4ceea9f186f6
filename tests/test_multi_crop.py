"""One group of settings for the crops of several objectives, each with its paper's values."""

import importlib
import inspect
import pkgutil
from dataclasses import asdict, replace

import pytest
import yaml
from jsonargparse import ArgumentParser

from builders import GREY, RGB, small_vit
from launch import ROOT, launch
from vit import objectives
from vit.batch import DataSpec, ViewSpec
from vit.compare.identity import without_defaults
from vit.models import ResNet
from vit.objectives.base import Objective
from vit.objectives.parts.multi_crop import MultiCrop

PAPERS = {  # local crops, global area, local area
    "DINO": (8, (0.4, 1.0), (0.05, 0.4)),
    "IBOT": (10, (0.25, 1.0), (0.05, 0.25)),
    "LeJEPA": (6, (0.3, 1.0), (0.05, 0.3)),
}


def families() -> list[type[Objective]]:
    """Objectives of the folder that take crops; any of them may go."""
    for module in pkgutil.iter_modules(objectives.__path__):
        importlib.import_module(f"vit.objectives.{module.name}")
    return [
        family
        for family in Objective.__subclasses__()
        if family.__module__.startswith("vit.objectives.")
        and "crops" in inspect.signature(family).parameters
    ]


FAMILIES = families()
CROPS = MultiCrop(local_crops=4, global_area=(0.5, 1.0), local_area=(0.1, 0.5))


def crops_of(family: type[Objective], *argv: str, config: dict | None = None) -> dict:
    """The resolved crops of an objective, from YAML and a command line."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(family, "objective", skip={"encoder", "spec"})
    words = ["--config", yaml.safe_dump({"objective": config})] if config else []
    return parser.parse_args([*words, *argv]).objective.crops.as_dict()


def defaults(family: type[Objective]) -> dict:
    return asdict(inspect.signature(family).parameters["crops"].default)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.__name__ in PAPERS])
def test_each_objective_has_its_papers_crops(family):
    """Objectives that are not listed say so in their own tests."""
    local_crops, global_area, local_area = PAPERS[family.__name__]
    assert crops_of(family) == asdict(MultiCrop(local_crops, global_area, local_area))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_field_that_is_given_leaves_the_others_as_the_papers(family):
    given = {"crops": {"local_crops": 2}}
    assert crops_of(family, config=given) == defaults(family) | {"local_crops": 2}
    typed = crops_of(family, "--objective.crops.photometric", "0.1", config=given)
    assert typed == defaults(family) | {"local_crops": 2, "photometric": 0.1}
    later = crops_of(family, "--objective.crops.local_crops", "3", config=given)
    assert later == defaults(family) | {"local_crops": 3}


def imagenet_recipe(family: type[Objective]) -> str:
    return f"configs/imagenet/{family.__name__.lower()}_s16.yaml"


@pytest.mark.parametrize("family", [f for f in FAMILIES if (ROOT / imagenet_recipe(f)).is_file()])
def test_recipes_and_a_command_line_are_layered_field_by_field(tmp_path, family):
    recipe = imagenet_recipe(family)
    ended = launch("fit", "--config", recipe, "--model.objective.crops.local_crops", "2",
                   "--print_config", cwd=tmp_path)  # fmt: skip
    shown = yaml.safe_load(ended.out)["model"]["objective"]["init_args"]["crops"]
    shown = {key: tuple(v) if isinstance(v, list) else v for key, v in shown.items()}
    objective = yaml.safe_load((ROOT / recipe).read_text())["model"]["objective"]
    given = objective["init_args"]["crops"] | {"local_crops": 2}
    assert len(given) > 1
    assert shown == defaults(family) | given


@pytest.mark.parametrize("typo", ["local_crop", "local_cropz"])
def test_a_field_that_is_misspelt_is_refused_with_the_nearest(tmp_path, typo):
    ended = launch("fit", "--config", "configs/pretrain/dino.yaml",
                   f"--model.objective.crops.{typo}", "2", cwd=tmp_path)  # fmt: skip
    assert ended.code == 2
    assert f"model.objective.crops: there is no setting {typo!r}; did you mean " in ended.out


@pytest.mark.parametrize(
    ("key", "now"),
    [
        ("local_crops", "crops.local_crops"),
        ("centre_momentum", "distillation.center_momentum"),
        ("prototypes", "head.prototypes"),
    ],
)
def test_a_key_of_before_is_answered_with_the_one_of_today(tmp_path, key, now):
    ended = launch("fit", "--config", "configs/pretrain/dino.yaml",
                   f"--model.objective.{key}", "2", cwd=tmp_path)  # fmt: skip
    assert ended.code == 2
    assert f"it is called {now} now" in ended.out


def test_a_run_is_told_apart_by_what_differs_from_its_objectives_crops():
    """Values of the paper that are written out change no run's identity."""
    path = f"{FAMILIES[0].__module__}.{FAMILIES[0].__qualname__}"
    whole = {k: list(v) if isinstance(v, tuple) else v for k, v in defaults(FAMILIES[0]).items()}

    def identity(crops: dict) -> dict:
        return without_defaults({"class_path": path, "init_args": {"crops": crops}})

    assert identity(whole) == {"class": path}
    assert identity(whole | {"local_crops": 2}) == {"class": path, "crops.local_crops": 2}
    ibots = whole | {"local_crops": 10, "global_area": [0.25, 1.0]}
    other = {"crops.local_crops": 10, "crops.global_area": [0.25, 1.0]}
    assert identity(ibots) == {"class": path} | other


# ---- views --------------------------------------------------------------------------------------


def test_large_views_have_the_datas_size_and_small_ones_three_sevenths_of_it():
    spec = DataSpec(("a", "b"), (224, 224), 3, (0.5,) * 3, (0.5,) * 3)
    assert CROPS.views(small_vit(spec, patch_size=16), spec) == (
        ViewSpec(count=2, area=(0.5, 1.0), photometric=0.5),
        ViewSpec(count=4, size=96, area=(0.1, 0.5), photometric=0.5),
    )


def test_an_encoder_without_patches_takes_small_views_of_any_size():
    assert replace(CROPS, local_size=7).views(ResNet(RGB), RGB)[1].size == 7
    with pytest.raises(ValueError, match="local_size must be a multiple of patch_size 2"):
        replace(CROPS, local_size=7).views(small_vit(), GREY)


def test_without_small_crops_there_are_large_views_alone():
    assert [view.count for view in replace(CROPS, local_crops=0).views(small_vit(), GREY)] == [2]


def test_a_teachers_views_are_distorted_as_by_byol():
    views = replace(CROPS, distorted=True).teacher_views(small_vit(), GREY)
    assert [(view.count, view.blur, view.solarise) for view in views] == [
        (1, 1.0, 0.0), (1, 0.1, 0.2), (4, 0.5, 0.0)
    ]  # fmt: skip
    assert CROPS.teacher_views(small_vit(), GREY) == CROPS.views(small_vit(), GREY)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"global_area": (0.0, 1.0)}, r"MultiCrop: global_area must rise within \(0, 1\], got"),
        ({"local_area": (0.4, 0.1)}, r"MultiCrop: local_area must rise within .*\(0.4, 0.1\)"),
        ({"local_crops": 101}, "MultiCrop: local_crops must be from 0 to 100, got 101"),
        ({"global_crops": -1}, "MultiCrop: global_crops must be from 0 to 100, got -1"),
        ({"photometric": 1.5}, r"MultiCrop: photometric must be in \[0, 1\], got 1.5"),
    ],
)
def test_a_wrong_setting_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        replace(CROPS, **settings)

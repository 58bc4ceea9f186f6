"""Recipes too large for a test have a small twin (configs/twin.yaml) that stays inside its band.

`python tests/contract/test_twins.py [recipe ...]` prints what each twin reaches, for seed 0.
"""

import csv
import re
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # where launch is, when run as a program
from launch import ROOT, launch

CONFIGS = ROOT / "configs"
RECIPES = sorted(
    [*(CONFIGS / "imagenet").glob("*.yaml"), *(CONFIGS / "finetune").glob("vit_*.yaml")]
)
TRIVIAL = {  # what a metric is when nothing was learned
    "probe/knn": {"probe/knn_random"},
    "val/accuracy": {"val/always_most_common"},
    "val/explained": {"val/explained_by_nothing", "val/explained_by_mean_colour"},
}
TWIN = re.compile(r"^Twin: +(.*?) *(\S+/\S+) ([\d.]+) to ([\d.]+)$", re.MULTILINE)


def name(file: Path) -> str:
    return str(file.relative_to(CONFIGS))


def header(file: Path) -> str:
    """Without marks; continued lines joined."""
    lines = [x[2:] for x in file.read_text().splitlines() if x.startswith("# ")]
    return re.sub(r"\n +", " ", "\n".join(lines))


def twin_of(file: Path) -> tuple[list[str], str, float, float]:
    """Words behind the recipe and configs/twin.yaml, a metric, its band."""
    words, metric, low, high = TWIN.search(header(file)).groups()
    return re.findall(r"<[^>]+>|\S+", words), metric, float(low), float(high)


def supervised(folder: Path) -> str:
    """What twins start from, or learn from."""
    words = ("fit", "--config", "configs/pretrain/supervised.yaml", "--config", "configs/twin.yaml")
    return str(launch(*words, "--name", "supervised", cwd=folder).run)


def reached(file: Path, folder: Path, seed: int, teacher: str) -> dict[str, float]:
    """Last values of its metrics."""
    words, *_ = twin_of(file)
    words = [teacher if word == "<supervised run>" else word for word in words]
    ended = launch(
        "fit", "--config", f"configs/{name(file)}", "--config", "configs/twin.yaml", *words,
        "--seed_everything", str(seed), cwd=folder, patience=1500,
    )  # fmt: skip
    assert ended.code == 0, ended.everything
    assert "warning" not in ended.everything.lower(), ended.everything
    rows = csv.DictReader((folder / ended.run / "metrics.csv").read_text().splitlines())
    return {row["name"]: float(row["value"]) for row in rows}


@pytest.mark.parametrize("file", RECIPES, ids=name)
def test_a_recipe_says_what_to_expect(file):
    """Expected figure, images seen, hardware; and a twin with a band that can be missed."""
    expected = re.search(r"^Expect: .+; .+ images, .+GPU", header(file), re.MULTILINE)
    assert expected, f"{file.name} lacks a line `Expect:`"
    *_, low, high = twin_of(file)
    assert 0 < low < high <= 1
    assert high - low <= 0.2


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    return str(folder / supervised(folder))


@pytest.mark.slow
@pytest.mark.parametrize("file", RECIPES, ids=name)
def test_the_twin_of_a_recipe_stays_inside_its_band(tmp_path, file, teacher):
    _, metric, low, high = twin_of(file)
    found = reached(file, tmp_path, 0, teacher)
    assert low <= found[metric] <= high, f"{metric} {found[metric]:.3f}"
    for trivial in TRIVIAL.get(metric, set()) & found.keys():
        assert found[metric] > found[trivial] + 0.02, f"{trivial} {found[trivial]:.3f}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run = supervised(Path(folder))
        for recipe in RECIPES:
            if len(sys.argv) == 1 or recipe.stem in sys.argv[1:]:
                try:
                    metric = twin_of(recipe)[1]
                    found = reached(recipe, Path(folder), 0, run)
                    shown = {metric} | TRIVIAL.get(metric, set()) & found.keys()
                    print(name(recipe), *(f"{key} {found[key]:.3f}" for key in sorted(shown)),
                          flush=True)  # fmt: skip
                except AssertionError as error:
                    print(name(recipe), "FAILED", str(error)[-600:], flush=True)

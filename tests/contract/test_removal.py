"""An objective goes by deleting its files; nothing else notices."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch import ROOT

OBJECTIVES = sorted(f.stem for f in (ROOT / "src/vit/objectives").glob("*.py")
                    if f.stem not in ("__init__", "base", "supervised"))  # fmt: skip
# labels stay: fine-tuning on them is how all others are judged
# all tests are collected, so all imports hold; these run, which go over every objective and config
CHEAP = (
    "test_architecture or test_flops or test_optim or (test_configs and not trains)"
    " or (test_studies and (reads or arm_is_short))"
)
PROBES = "(test_probe and not run)"  # their example is masked patch prediction


def delete(copy: Path, objective: str) -> list[str]:
    """Its file, its test, its leaf, and the configs that are made for it; their names."""
    gone = [
        copy / "src/vit/objectives" / f"{objective}.py",
        copy / "tests" / f"test_{objective}.py",
    ]
    gone += [copy / "configs/objective" / f"{objective}.yaml"]
    configs = sorted((copy / "configs").rglob("*.yaml"))
    while True:  # recipes name the objective, arms name recipes, studies name arms
        names = "|".join(re.escape(str(file.relative_to(file.parents[1]))) for file in gone)
        arms = "|".join(f.stem for f in gone if f.parent.name == "arms") or "-"
        made_for_it = re.compile(
            rf"({names})|objectives\.{objective}\.|^arms: \[(.*, )?({arms})[,\]]", re.MULTILINE
        )
        more = [f for f in configs if f not in gone and made_for_it.search(settings_of(f))]
        if not more:
            break
        gone += more
    for file in gone:
        file.unlink()
    return [str(file.relative_to(copy)) for file in gone]


def settings_of(config: Path) -> str:
    """Without comments, which may name anything."""
    return re.sub(r"#.*", "", config.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_house_stands_without_an_objective(tmp_path, objective):
    copy = tmp_path / "copy"
    left = shutil.ignore_patterns(".git", "logs", ".venv", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=left)
    gone = delete(copy, objective)
    assert len(gone) >= 3
    environment = os.environ | {"PYTHONPATH": str(copy / "src")}
    # one process: each start costs as much as a hundred of these tests
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", "-k"]
    done = subprocess.run(
        [*command, CHEAP if objective == "mpp" else f"{CHEAP} or {PROBES}"],
        cwd=copy, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"without {gone}:\n{done.stdout[-2000:]}"

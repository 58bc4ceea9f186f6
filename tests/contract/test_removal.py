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
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "logs", ".venv", "*cache*"))
    gone = delete(copy, objective)
    assert len(gone) >= 3
    environment = os.environ | {"PYTHONPATH": str(copy / "src")}
    for what in (
        ["--collect-only"],
        ["tests/test_architecture.py", "tests/test_flops.py", "tests/test_optim.py"],
        *(
            [] if objective == "mpp" else [["tests/test_probe.py", "-k", "not run"]]
        ),  # mpp stands for all
        ["tests/contract/test_configs.py", "-k", "not trains"],
        ["tests/contract/test_studies.py", "-k", "reads or arm_is_short"],
    ):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *what]
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"without {gone}:\n{done.stdout[-2000:]}"

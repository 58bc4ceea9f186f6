"""An objective goes by deleting its files; nothing else notices."""

import os
import shutil
import subprocess
import sys

import pytest

from launch import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["simmim", "mae", "lejepa"])
def test_the_house_stands_without_an_objective(tmp_path, objective):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "logs", ".venv", "*cache*"))
    (copy / "src" / "vit" / "objectives" / f"{objective}.py").unlink()
    (copy / "configs" / "objective" / f"{objective}.yaml").unlink()
    (copy / "configs" / "compare" / "arms" / f"{objective}.yaml").unlink()
    (copy / "tests" / f"test_{objective}.py").unlink()
    for recipe in (copy / "configs" / "imagenet").glob(f"{objective}_*.yaml"):
        recipe.unlink()
    environment = os.environ | {"PYTHONPATH": str(copy / "src")}
    for what in (
        ["--collect-only"],
        ["tests/test_architecture.py", "tests/contract/test_configs.py"],
        ["tests/contract/test_studies.py", "-k", "reads or arm"],
    ):
        command = [sys.executable, "-m", "pytest", *what]
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:]

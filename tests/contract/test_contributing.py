"""CONTRIBUTING.md is right: its objective is copied out of the page, trained and tested."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from launch import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def blocks() -> dict[str, str]:
    """The files of the page by name."""
    found = re.findall(r"\*\*\d\. `([^`]+)`\*\*\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    return dict(found)


def test_the_page_holds_an_objective_its_config_and_its_test():
    folders = {name.rpartition("/")[0] for name in blocks()}
    assert folders == {"src/vit/objectives", "configs/objective", "tests"}


@pytest.fixture
def copy(tmp_path):
    """The project with the page's files in it."""
    away = shutil.ignore_patterns(".git", "logs", ".venv", "__pycache__", ".*_cache", "data/*")
    shutil.copytree(ROOT, tmp_path / "copy", ignore=away)
    for name, text in blocks().items():
        (tmp_path / "copy" / name).write_text(text)
    return tmp_path / "copy"


def run(copy, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], cwd=copy, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip


def commands() -> list[list[str]]:
    text = PAGE.split("```bash\n")[-1].split("```")[0]
    return [line.split()[1:] for line in text.splitlines()]


@pytest.mark.slow
def test_its_commands_run(copy):
    train, test = commands()
    assert (train[0], test[0]) == ("train.py", "tests/test_rotation.py")
    done = run(copy, *train, "--trainer", "configs/trainer/debug.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run: logs/rotation/" in done.stdout
    done = run(copy, "-m", "pytest", *test)
    assert done.returncode == 0, done.stdout
    formatted = run(copy, "-m", "ruff", "check", "src", "tests")
    assert formatted.returncode == 0, formatted.stdout


@pytest.mark.slow
def test_its_own_test_passes(copy):
    done = run(copy, "-m", "pytest", "tests/test_rotation.py")
    assert done.returncode == 0, done.stdout

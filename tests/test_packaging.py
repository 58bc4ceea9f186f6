"""What people install and copy: packages, extras, the conda file, the README's commands."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import timm
import transformers
import yaml
from PIL import Image
from safetensors.torch import save_file

from launch import ROOT, launch

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_folder_is_installed():
    from setuptools import find_packages

    folders = {f.parent for f in (ROOT / "src").rglob("*.py")}
    expected = {".".join(f.relative_to(ROOT / "src").parts) for f in folders}
    assert set(find_packages(str(ROOT / "src"))) == expected - {""}


@pytest.mark.slow
def test_a_non_editable_install_holds_every_file(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            tmp_path,
            ROOT,
        ],
        check=True,
    )
    ours = {f.relative_to(ROOT / "src") for f in (ROOT / "src" / "vit").rglob("*.py")}
    assert all((tmp_path / file).is_file() for file in ours)


def test_the_conda_file_installs_this_package_with_the_same_python():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{PROJECT['project']['requires-python']}" in conda
    assert conda[-1] == {"pip": ["-e .[test]"]}


def test_constraints_pin_every_dependency():
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    named = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["test"]
    assert {re.split(r"[\[<>=]", name)[0].lower() for name in named} <= pinned


def test_the_readme_is_short_and_ends_its_promises():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 100
    for name in re.findall(r"\]\((?!http)([^)]+)\)", "\n".join(lines)):
        assert (ROOT / name).exists(), name


def test_continuous_integration_types_the_readme_s_test_command():
    command = 'pip install -e ".[test]" && pytest'
    assert command in (ROOT / "README.md").read_text()
    assert command in (ROOT / ".ci" / "run").read_text()


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if "train.py" in line]


def somebodys_files(cwd: Path) -> None:
    """The pictures and the released weights of the README's commands, tiny."""
    draw = np.random.default_rng(0)
    for name, count in {"my_pictures/cat": 60, "my_pictures/dog": 60, "loose_pictures": 3}.items():
        (cwd / name).mkdir(parents=True)
        for number in range(count):  # no two look alike: copies across splits are refused
            noise = draw.integers(0, 256, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(cwd / name / f"{number}.png")
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 1}
    network = timm.create_model("vit_tiny_patch16_224", **shape, num_classes=0)
    save_file(network.state_dict(), cwd / "a.safetensors")
    shape = {"image_size": 32, "patch_size": 8, "hidden_size": 64, "num_hidden_layers": 2}
    kind = transformers.ViTConfig(**shape, num_attention_heads=1, intermediate_size=128)
    transformers.utils.logging.disable_progress_bar()
    transformers.ViTModel(kind).save_pretrained(cwd / "b")


def test_the_readme_s_commands_run_in_order(tmp_path):
    """As printed, for a few batches; <run> is the newest folder of that name."""
    somebodys_files(tmp_path)
    commands = readme_commands()
    assert len(commands) >= 9
    for command in commands:
        words = shlex.split(command.split("train.py ")[1], comments=True)
        for at, word in enumerate(words):
            if word.endswith("/<run>"):
                runs = sorted((tmp_path / word.removesuffix("/<run>")).iterdir())
                words[at] = str(runs[-1].relative_to(tmp_path))
        short = {"fit": ["--trainer", "configs/trainer/debug.yaml"], "compare": ["--dry-run"]}
        short = short.get(words[0], [])
        if "--resume" in words:
            short = []
        if "cifar" in command:  # no images here: the settings must at least fit together
            short = ["--print_config=skip_null"]
        ended = launch(*words, *short, cwd=tmp_path)
        assert ended.code == 0, f"{command}\n{ended.everything}"


@pytest.mark.slow
def test_the_quick_start_reaches_what_the_readme_says(tmp_path):
    ended = launch("fit", "--config", "configs/quickstart.yaml", cwd=tmp_path)
    reached = float(re.search(r"test/accuracy +([\d.]+) %", ended.out)[1])
    assert reached >= 96.0  # one seed; 360 images: one standard error is 0.7 points


def test_no_machine_path_and_no_placeholder_is_left():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in tracked:
        path = Path(ROOT / name)
        if path.suffix in {".md", ".py", ".yaml", ".toml", ".yml"} and path.exists():
            assert not re.search(r"@[A-Z]{4,}@", path.read_text().replace("@[A-Z]", "")), name

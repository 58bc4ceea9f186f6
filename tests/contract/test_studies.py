"""Every study is a document that reads; those whose data is at hand can be planned."""

import re
from pathlib import Path

import pytest

from builders import RGB, saved_encoder, small_vit
from launch import ROOT, launch
from vit.cli.compare import read_study
from vit.cli.errors import UsageError

FOLDER = ROOT / "configs/compare"
STUDIES = sorted([*FOLDER.glob("*.yaml"), *(FOLDER / "claims").glob("*.yaml")])
ARMS = sorted([*(FOLDER / "arms").glob("*.yaml"), *(FOLDER / "claims/arms").glob("*.yaml")])


@pytest.mark.parametrize("file", STUDIES, ids=lambda f: f.stem)
def test_a_study_reads_and_carries_its_header(file, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    study, arms, _ = read_study(["--config", str(file.relative_to(ROOT)), *weights(file, tmp_path)])
    assert study.question.endswith("?")
    assert len(arms) > 1
    header = "\n".join(line for line in file.read_text().splitlines() if line.startswith("#"))
    assert "Here:" in header
    command = re.search(r"Run: +python train.py compare --config (\S+)", header)
    assert ROOT / command[1] == file
    for part in (
        study.encoder,
        study.finetune.config,
        *(p.config for p in study.transfer.values()),
    ):
        assert (ROOT / part).is_file()


def weights(file: Path, folder: Path) -> list[str]:
    """What a study needs besides its file: one compares the weights that it is given."""
    if file.stem != "released":
        return []
    encoders = {"one": small_vit(RGB, patch_size=4), "two": small_vit(RGB, patch_size=8)}
    runs = [saved_encoder(encoder, folder / name, RGB) for name, encoder in encoders.items()]
    return ["--weights", *map(str, runs)]


@pytest.mark.parametrize("file", ARMS, ids=lambda f: f.stem)
def test_an_arm_is_short_and_says_what_it_is(file):
    lines = file.read_text().splitlines()
    assert len(lines) <= 25
    assert lines[0].startswith("# ")


def test_the_studies_of_digits_can_be_planned(tmp_path):
    for name, runs in (
        ("quick", 5 * (2 + 2 * (4 + 4 + 3))),
        ("claims/flops", None),
        ("claims/resolution", None),
    ):
        words = ("compare", "--config", f"configs/compare/{name}.yaml", "--dry-run")
        ended = launch(*words, cwd=tmp_path)
        assert ended.code == 0, ended.everything
        assert runs is None or f"{runs} runs, 0 done" in ended.out


@pytest.mark.slow
def test_a_study_of_every_arm_can_be_planned(tmp_path):
    words = ("compare", "--config", "configs/compare/digits.yaml", "--list", "--seeds", "1")
    ended = launch(*words, "--tuning.trials", "1", "--axes", "{}", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    files = (FOLDER / "arms").glob("*.yaml")
    arms = {file.stem for file in files if "on_request: true" not in file.read_text()}
    assert arms <= set(re.findall(r"^new +(\w+)", ended.out, re.MULTILINE))


def test_axes_and_tuning_are_counted_out(tmp_path):
    """Seeds x (pre-trainings, draws x (trials, tasks, tests, probes, controls))."""
    words = ("compare", "--config", "configs/compare/quick.yaml", "--dry-run", "--seeds", "2")
    more = ("--tuning.trials", "3", "--axes", "{labels_per_class: [5], budget: [2]}")
    ended = launch(*words, *more, "--label_draws", "3", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    pretrained = 2 * 2 * 2  # arms with one x seeds x budgets
    cells = 2 * 3  # seeds x draws
    trials = cells * 3 * 2  # the rates that are not the declared one; the long arm's are scratch's
    tasks = cells * (4 + 4 + 3)  # declared, fewer labels, twice the budget but for scratch
    probes = cells * (2 + 1)
    assert f"{pretrained + trials + 2 * tasks + probes} runs, 0 done" in ended.out


def test_words_are_typed_as_for_evaluate(monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ("--arms=scratch,mpp", "--protocols", "knn,ridge", "--controls", "none")
    study, arms, _ = read_study([*QUICK, *words, "--budget.images", "5"])
    assert list(arms) == ["scratch", "mpp"]
    assert (study.protocols, study.controls) == (["knn", "ridge"], [])
    assert vars(study.budget) == {"flops": None, "images": 5, "epochs": None}


def test_an_arm_of_ones_own_is_typed_as_a_path_from_where_one_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("# No pre-training.\ntitle: mine\n")
    quick = ["--config", str(ROOT / "configs/compare/quick.yaml")]
    _, arms, _ = read_study([*quick, "--arms", "scratch,mine.yaml"])
    assert [arm.title for arm in arms.values()] == ["scratch", "mine"]
    with pytest.raises(UsageError, match=r"'yours.yaml' \(looked for .*, yours.yaml\); known: "):
        read_study([*quick, "--arms", "scratch,yours.yaml"])


QUICK = ["--config", "configs/compare/quick.yaml"]
READ = [
    (("--arms", "[scratch, dinosaur]"), "arms: no file for 'dinosaur'"),
    (("--arms", "[mpp, mpp]"), "arms: mpp twice"),
    (("--primary.data", "cats"), "primary.data: unknown 'cats'; known: digits"),
    (("--primary.protocol", "svm"), "primary.protocol: unknown 'svm'"),
    (("--endpoints", "[{data: cats}]"), "endpoints.data: unknown 'cats'; known: digits"),
    (("--endpoints", "[{data: digits, protocol: svm}]"), "endpoints.protocol: unknown 'svm'"),
    (("--endpoints", "[{data: digits}]"), "endpoints: digits, finetune is declared twice"),
    (("--axes", "{depth: [2]}"), "axes: unknown 'depth'; known: labels_per_class"),
    (("--axes", "{labels_per_class: [2.7]}"), "axes.labels_per_class: needs whole numbers above 0"),
    (("--axes", "{budget: [-1.0]}"), "axes.budget: needs numbers above 0"),
    (("--axes", "{budget: []}"), "axes.budget: needs numbers above 0, each once, got []"),
    (("--budget.images", "5", "--budget.flops", "5"), "budget: give one of flops, images, epochs"),
    (("--budget.flops", "0"), "budget.flops must be above 0"),
    (("--budget.flops", ".inf"), "budget.flops must be above 0, at most 1e30, got inf"),
    (("--seeds", "0"), "quick.yaml: seeds needs a number from 1 to 1,000, got 0"),
    (("--seeds", "many"), "many"),
    (("--seed", "3"), "seed"),
    (("--margin", "5.0"), "margin must be a fraction between 0 and 1"),
    (("--label_draws", "0"), "label_draws needs a number from 1"),
    (("--protocols", "[knn, tarot]"), "tarot"),
    (("--protocols", "[knn, knn]"), "protocols: needs each once"),
    (("--data", "nowhere.yaml"), "--data: nowhere.yaml: no such file"),
    (("--data.root",), "--data.root needs a value"),
    (("--pretrain", "null"), "pretrain: arm supervised needs data to learn from"),
]


@pytest.mark.parametrize(("words", "line"), READ)
def test_a_mistake_in_a_study_is_one_line(words, line, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UsageError) as told:
        read_study([*QUICK, *words])
    assert line in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--jobs", "none"), "--jobs must be a number from 1"),
        (("--jobs", "²"), "--jobs must be a number from 1"),
        (("--jobs", "99999999999999999999999"), "--jobs must be a number from 1 to 512, got 999"),
        (("--name", "../x"), "'../x' is no name for a folder"),
        (("--data.canvas", "3"), "canvas must be from 14 to 1,024"),
        (("--emit", "pbs"), "emit: unknown 'pbs'; known: slurm"),
        (("--axes", "{train_images: [50]}"), "train_images' is not accepted; the study asks for"),
        (("--encoder", "configs/encoder/resnet18.yaml"), "needs a TokenEncoder, got a ResNet"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_begun(tmp_path, words, line):
    ended = launch("compare", *QUICK, *words, cwd=tmp_path)
    assert ended.code == 2, ended.everything
    assert line in ended.out
    assert len(ended.out.strip().splitlines()) == 1, ended.out
    assert not (tmp_path / "logs/compare/runs").exists()


def test_a_study_that_is_not_there_is_named_with_the_nearest(tmp_path):
    ended = launch("compare", "--config", "configs/compare/quik.yaml", cwd=tmp_path)
    assert ended.code == 2
    assert "did you mean configs/compare/quick.yaml?" in ended.out

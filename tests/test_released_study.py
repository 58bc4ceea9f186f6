"""A study of weights that others trained: arms, sizes, what is known of them, one whole run."""

import csv
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from builders import RGB, saved_encoder, small_vit
from launch import ROOT, launch
from planted import findings, planted
from vit.cli.compare import read_study
from vit.cli.errors import UsageError
from vit.cli.study_argv import with_weights
from vit.compare.conclusion import Conclusion
from vit.compare.details import overlap_text
from vit.compare.given_weights import (
    GivenWeights,
    arms_of,
    given_weights,
    kind_of_trainings,
    name_of,
    weights_hash,
)
from vit.compare.imported import images_seen, labels_learned
from vit.compare.ledger import upstream
from vit.data import ImageFolder
from vit.models.weights.card import Card

CARD = Card("a name", "labels", True, "ImageNet-1k", 1_281_167, 1_281_167, None, "MIT", "somewhere")


def run(folder: Path, name: str, depth: int = 2, side: int = 16, card: Card = CARD) -> Path:
    """A run folder whose encoder came from somebody else; patches of 4 px."""
    spec = replace(RGB, image_size=(side, side))
    encoder = small_vit(spec, depth=depth, patch_size=4)
    return saved_encoder(encoder, folder / name / "2026-11-30_seed0", spec, (card.link(),))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Three colours that noise nearly hides, 20 pictures each; one is a class of ImageNet."""
    root, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for channel, name in enumerate(("daisy", "rosa", "viola")):
        (root / name).mkdir()
        for number in range(20):
            pixels = draw.integers(0, 200, (20, 24, 3))
            pixels[..., channel] += 50
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


# ---- arms ---------------------------------------------------------------------------------------


def test_each_file_is_an_arm_with_a_readable_name_and_its_own_size(tmp_path):
    runs = [run(tmp_path, "mpp"), run(tmp_path, "dino", depth=1, side=24)]
    arms = arms_of(map(str, runs), 20)
    assert {name: arm.image_size for name, arm in arms.items()} == {
        "mpp_seed0": 16,
        "dino_seed0": 20,
    }
    assert [arm.pretrained for arm in arms.values()] == list(map(str, runs))
    assert list(arms_of([str(runs[0])], 224, ["mpp_seed0"])) == ["mpp_seed0_2"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("weights/deit_small.safetensors", "deit_small"),
        ("weights/dinov2-small", "dinov2-small"),
        ("weights/dinov2-small/model.safetensors", "dinov2-small"),
        ("timm:vit_small_patch16_224.augreg_in21k", "vit_small_patch16_224.augreg_in21k"),
        ("hf:facebook/dinov2-small", "facebook-dinov2-small"),
    ],
)
def test_an_arm_is_called_as_its_file_or_folder(tmp_path, monkeypatch, text, name):
    monkeypatch.chdir(tmp_path)
    Path("weights/dinov2-small").mkdir(parents=True)
    for file in ("deit_small.safetensors", "dinov2-small/model.safetensors"):
        (Path("weights") / file).touch()
    assert name_of(text) == name


@pytest.mark.parametrize(
    ("side", "patch", "most", "shown"),
    [(518, 14, 224, 224), (224, 16, 224, 224), (518, 14, 230, 224), (48, 6, 224, 48)],
)
def test_pictures_are_shown_as_large_as_whole_patches_allow(side, patch, most, shown):
    given = GivenWeights(Path(), (), side, patch, "cls", ())
    assert given.shown_at(most) == shown


def test_what_is_no_encoder_or_stands_twice_is_one_line(tmp_path):
    first = run(tmp_path, "one")
    (tmp_path / "copy.ckpt").write_bytes((first / "checkpoints/last.ckpt").read_bytes())
    (tmp_path / "text.pth").write_text("no weights")
    for words, line in (
        ([first, tmp_path / "copy.ckpt"], f"copy.ckpt holds the same as {first}; leave one out"),
        ([tmp_path / "gone.npz"], "gone.npz: no such file or folder"),
        ([tmp_path / "text.pth"], "text.pth"),
    ):
        with pytest.raises(ValueError, match="weights: ") as told:
            arms_of(map(str, words), 224)
        assert line in str(told.value)
        assert "\n" not in str(told.value)


def test_a_hash_follows_the_bytes_and_not_the_place(tmp_path):
    first, second = run(tmp_path, "one"), run(tmp_path, "two", depth=1)
    moved = tmp_path / "other.ckpt"
    moved.write_bytes((first / "checkpoints/last.ckpt").read_bytes())
    assert weights_hash(str(moved)) == weights_hash(str(first)) != weights_hash(str(second))


def test_weights_are_supervised_if_any_training_behind_them_was():
    assert kind_of_trainings([False, True]) == "supervised"
    assert kind_of_trainings([False, False]) == "self-supervised"
    assert kind_of_trainings([None, False]) == kind_of_trainings([]) == "imported"


# ---- what is known ------------------------------------------------------------------------------


def test_classes_that_the_upstream_learned_are_said_and_not_refused(pictures):
    task = ImageFolder(str(pictures), image_size=16, workers=0)
    named = replace(CARD, classes=("daisy", "dog"))
    assert labels_learned(named.link(), task, ()) == ""
    ours = named.link()._replace(config="data: null")  # the same, of a training of this project
    assert "daisy" in labels_learned(ours, task, ())
    seen = images_seen(CARD.link(), task)
    assert seen.classes == ("daisy",)  # of ImageNet's thousand
    assert "nobody can look" in overlap_text(seen)
    assert overlap_text(seen).endswith("classes in both: daisy")
    silent = replace(CARD, data="pictures of ours")
    assert images_seen(silent.link(), task).classes == ()


def test_what_nobody_said_is_unknown():
    by, on, images, labels, flops, licence = upstream(CARD.link())
    assert (by, on, images, labels) == ("labels", "ImageNet-1k", "1,281,167", "1,281,167")
    assert (flops, licence) == ("unknown", "MIT")
    assert upstream(Card("?").link()) == ["unknown"] * 6
    assert upstream(replace(CARD, uses_labels=False, labels=None).link())[3] == "0"


# ---- the command line ---------------------------------------------------------------------------


def test_the_words_behind_weights_are_a_list():
    argv = "--config a.yaml --weights a b/ c.npz --seeds 2".split()
    assert with_weights(argv) == [
        "--config", "a.yaml", "--weights", '["a", "b/", "c.npz"]', "--seeds", "2",
    ]  # fmt: skip
    assert with_weights(["--weights", "[a, b]"]) == ["--weights", "[a, b]"]
    assert with_weights(["--finetune"]) == [
        "--frozen_only", "false", "--primary.protocol", "finetune",
    ]  # fmt: skip


RELEASED = ("--config", "configs/compare/released.yaml")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "weights: needs encoders to compare: --weights a.safetensors"),
        (("--weights", "--seeds", "2"), "--weights needs files, folders or names"),
        (("--weights", "gone"), "weights: gone: no such file or folder"),
        (("--weights", "{run}", "--controls", "none"), "controls: they stand for what can be had"),
        (("--weights", "{run}", "--primary.protocol", "finetune"), "or ask for it: --finetune"),
        (("--weights", "{run}", "--tuning.trials", "3"), "tuning.trials: nothing is fine-tuned"),
        (("--weights", "{run}", "--weights_px", "0"), "weights_px needs a number from 1"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(ROOT)
    one = str(run(tmp_path, "one"))
    with pytest.raises(UsageError) as told:
        read_study([*RELEASED, *(word.replace("{run}", one) for word in words)])
    assert line in str(told.value)
    assert "\n" not in str(told.value)


def test_scratch_joins_where_fine_tuning_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = [*RELEASED, "--weights", str(run(tmp_path, "one"))]
    study, arms, _ = read_study(words)
    assert (list(arms), study.primary.protocol) == (["one_seed0"], "linear")
    study, arms, _ = read_study([*words, "--finetune"])
    assert (list(arms), study.primary.protocol) == (["scratch", "one_seed0"], "finetune")


# ---- the answer ---------------------------------------------------------------------------------


def answer(states: dict[str, str] | None = None, **levels: float) -> list[str]:
    """The sentences of a study of given weights, beside raw pixels at 30 % and k-means at 40 %."""
    results = planted(levels, controls={"pixels": 0.3, "kmeans": 0.4}, weights=["a", "b"])
    results.study.controls, results.study.frozen_only = ["raw_pixels", "kmeans"], True
    results.study.margin = 0.02
    shown = findings(results, states)
    for arm in shown.arms.values():
        arm.pretrained = "a"
    return Conclusion(shown).sentences()


def test_the_best_start_wins_over_what_needs_no_pre_training():
    first, *rest = answer(supervised=0.8, dino=0.6)
    assert re.match(r"Supervised: \+\d\d\.\d points against k-means features \(control\)", first)
    assert any(re.match(r"Best start: supervised \(\d\d\.\d %, finetune\)\.", x) for x in rest)
    assert any("the same command with --finetune measures it" in line for line in rest)


def test_weights_that_are_level_are_both_named():
    (line,) = [x for x in answer(supervised=0.7, dino=0.7) if x.startswith("Best start: ")]
    assert "not distinguishable from it: " in line


def test_a_control_that_is_as_good_leaves_no_winner():
    first, *_ = answer(supervised=0.4, dino=0.3)
    assert not first.startswith(("Supervised", "Self-supervised"))


def test_weights_that_are_no_better_than_untrained_cannot_win():
    first, *rest = answer({"supervised": "not trained", "dino": "not trained"},
                          supervised=0.2, dino=0.2)  # fmt: skip
    assert first.startswith("Cannot be told at this budget: ")
    assert any(line.startswith("No start stands out") for line in rest)


# ---- a whole study ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory, pictures) -> Path:
    """Two encoders of somebody else, 2 folds x 2 seeds; the working directory."""
    cwd = tmp_path_factory.mktemp("study")
    weights = [run(cwd, "wide"), run(cwd, "deep", depth=3, side=24)]
    ended = launch(
        "compare", *RELEASED, "--data.root", str(pictures), "--data.image_size", "16",
        "--encoder", "configs/encoder/tiny.yaml", "--folds", "2", "--seeds", "2",
        "--protocols", "knn,ridge", "--primary.protocol", "knn",
        "--weights", *map(str, weights), cwd=cwd,
    )  # fmt: skip
    assert ended.code == 0, ended.everything
    return cwd


def test_every_picture_goes_through_each_encoder_once(study):
    parts: dict[str, list[str]] = {}
    for file in (study / "logs/compare/runs/cache").glob("*.pt"):
        content = torch.load(file, weights_only=True)
        parts.setdefault(content["key"], []).extend(content["pictures"])
    assert len(parts) == 2 + 2  # two encoders, and a random one for each seed
    assert all(len(names) == len(set(names)) == 60 for names in parts.values())


def test_kept_features_give_the_figures_of_new_ones(study):
    """The second seed of an arm made no features of its own."""
    (summary,) = [
        file
        for file in study.glob("logs/compare/runs/deep_seed0.*/*_seed1/summary.evaluate.json")
        if "fold 1" in label(file) or '"fold": 1' in label(file)
    ]
    argv = shlex.split((summary.parent / "command.txt").read_text())[2:]
    argv[argv.index("--cache") + 1] = "none"
    argv[argv.index("--name") + 1] = "again"
    ended = launch(*argv, cwd=study)
    assert ended.code == 0, ended.everything
    again = json.loads((study / ended.run / "summary.evaluate.json").read_text())
    kept = json.loads(summary.read_text())
    for name in ("test/knn/accuracy", "test/ridge/accuracy", "val/knn/accuracy", "protocol_ids"):
        assert again[name] == kept[name]


def label(summary: Path) -> str:
    """The settings of the run beside a summary."""
    return (summary.parents[1] / "identity.json").read_text()


def test_each_arm_is_shown_its_own_size_and_weights_without_use_cannot_win(study):
    report = (study / "logs/compare/released/report.md").read_text()
    assert "| 16 px | cls |" in report
    assert "| 24 px | cls |" in report
    first = report.splitlines()[2]
    assert first.startswith("**Cannot be told at this budget: ")  # random weights cannot win
    assert "wide_seed0 is no better than untrained here (kNN on validation" in first
    assert "No start stands out: " in report
    assert "classes in both: daisy" in report
    with (study / "logs/compare/released/results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert not any(row["protocol"] == "finetune" for row in rows)
    assert {row["status"] for row in rows if row["arm"] != "kmeans"} == {"done"}


def test_a_card_survives_a_run_folder(tmp_path):
    given = given_weights(str(run(tmp_path, "one")))
    assert given.cards == [CARD]
    assert (given.kind, given.side, given.patch) == ("supervised", 16, 4)

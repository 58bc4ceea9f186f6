"""Runs are the same run when nothing that can change the result differs."""

import copy

import pytest

from vit.compare import identity
from vit.compare.identity import data_identity, digest, fit_identity, parameters, without_defaults
from vit.data import CIFAR10, Digits
from vit.objectives.supervised import Supervised

SETTINGS = {
    "seed_everything": 0,
    "keep_best": False,
    "threads": 1,
    "data": {
        "class_path": "vit.data.Digits",
        "init_args": {
            "val_fraction": 0.1, "batch_size": 64, "eval_batch_size": 256, "workers": 0,
            "augmentation": {"degrees": 10.0, "shift": 0.0, "scale": 0.0, "flip": False,
                             "padding": 0, "randaugment": None},
        },
    },
    "model": {
        "objective": {"class_path": "vit.objectives.supervised.Supervised",
                      "init_args": {"colours": 8}},
        "encoder": {"class_path": "vit.models.ViT", "init_args": {"width": 64, "depth": 4}},
        "optimizer": {"class_path": "torch.optim.AdamW",
                      "init_args": {"lr": 3e-3, "betas": [0.9, 0.999], "weight_decay": 0.05}},
        "clip": {"kind": "global", "value": 1.0},
        "layer_decay": 1.0, "compile": False, "pretrained": None,
    },
    "trainer": {"max_steps": 100, "precision": None, "accelerator": "cpu", "devices": 1,
                "callbacks": None, "log_every_n_steps": 20},
}  # fmt: skip
SPLITS = {"train": "aa", "val": "bb"}


def id_of(settings: dict, upstream: str | None = None) -> str:
    return digest(fit_identity(settings, SPLITS, upstream))


def changed(*path: str, to: object) -> dict:
    settings = copy.deepcopy(SETTINGS)
    at = settings
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return settings


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("threads",), 8),
        (("trainer", "devices"), 4),
        (("trainer", "accelerator"), "gpu"),
        (("trainer", "precision"), "32-true"),
        (("trainer", "log_every_n_steps"), 1),
        (("trainer", "callbacks"), [{"class_path": "vit.callbacks.Probe", "init_args": {"k": 20}}]),
        (("data", "init_args", "workers"), 4),
        (("data", "init_args", "eval_batch_size"), 32),
        (("data", "class_path"), "vit.data.digits.Digits"),
        (("data", "init_args", "classes"), None),
        (("data", "init_args", "augmentation", "flip"), False),
        (("model", "compile"), True),
        (("model", "head_lr"), 1.0),
        (("model", "clip"), {"value": 1.0}),
        (("model", "optimizer", "init_args", "eps"), 1e-8),
    ],
)
def test_what_cannot_change_the_result_changes_no_id(path, value):
    assert id_of(changed(*path, to=value)) == id_of(SETTINGS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("seed_everything",), 1),
        (("keep_best",), True),
        (("trainer", "max_steps"), 101),
        (("trainer", "precision"), "bf16-mixed"),
        (("trainer", "limit_val_batches"), 2),
        (("trainer", "callbacks"), {"class_path": "lightning.pytorch.callbacks.EarlyStopping",
                                    "init_args": {"monitor": "val/loss"}}),
        (("data", "init_args", "batch_size"), 32),
        (("data", "init_args", "augmentation", "flip"), True),
        (("data", "init_args", "labels_per_class"), 10),
        (("data", "class_path"), "vit.data.CIFAR10"),
        (("model", "layer_decay"), 0.75),
        (("model", "clip"), None),
        (("model", "optimizer", "init_args", "lr"), 1e-3),
        (("model", "encoder", "init_args", "width"), 32),
    ],
)  # fmt: skip
def test_what_can_change_the_result_changes_the_id(path, value):
    assert id_of(changed(*path, to=value)) != id_of(SETTINGS)


def test_other_images_are_another_run():
    assert digest(fit_identity(SETTINGS, SPLITS | {"train": "cc"}, None)) != id_of(SETTINGS)


def test_the_run_before_counts_and_the_path_to_it_does_not():
    elsewhere = changed("model", "pretrained", to="/another/folder")
    assert id_of(elsewhere, "one") == id_of(SETTINGS, "one") != id_of(SETTINGS, "two")


def test_an_encoder_that_is_given_counts_also_behind_another_run():
    other = changed("model", "encoder", to=None)
    assert id_of(other, "one") != id_of(SETTINGS, "one")  # a given encoder may differ in its rules


def test_a_new_argument_with_a_default_changes_no_id(monkeypatch):
    """What jsonargparse would write into every config the day after."""
    before, honest = id_of(SETTINGS), Supervised.__init__

    def grown(self, encoder, spec, colours: int = 512, target: str = "mean") -> None:
        honest(self, encoder, spec)

    monkeypatch.setattr(Supervised, "__init__", grown)
    node = ("model", "objective", "init_args")
    assert id_of(changed(*node, to={"colours": 8, "target": "mean"})) == before
    assert id_of(changed(*node, to={"colours": 8, "target": "all"})) != before


def test_where_data_lies_is_not_what_it_is():
    here, there = (
        data_identity({"class_path": "vit.data.CIFAR10", "init_args": {"root": root}})
        for root in ("data", "/mnt/data")
    )
    assert here == there == {"class": "vit.data.cifar.CIFAR10"}


def test_settings_of_parents_are_known():
    assert parameters(Digits)["batch_size"].default == 64
    assert parameters(CIFAR10)["train_images"].default is None
    assert "loading" not in parameters(Digits)


def test_false_is_not_zero():
    no, zero = (
        without_defaults({"class_path": "vit.data.Digits", "init_args": {"clutter": value}})
        for value in (False, 0)
    )
    assert no != zero


def test_the_source_hash_ignores_words_for_people():
    text = 'def f():\n    """Says."""\n    return 1  # one\n'
    dumps = [
        identity.ast.dump(identity.without_docstrings(identity.ast.parse(version)))
        for version in (text, text.replace("Says", "Tells").replace("one", "eins"))
    ]
    assert dumps[0] == dumps[1]
    other = identity.ast.parse(text.replace("return 1", "return 2"))
    assert identity.ast.dump(identity.without_docstrings(other)) != dumps[0]

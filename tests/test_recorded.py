"""What comes out of a file is data: it builds nothing that is not listed."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from builders import GREY, small_vit
from launch import launch
from test_weights import content, save
from vit import parser_workarounds
from vit.cli.errors import UsageError
from vit.cli.recorded import (
    LIGHTNING,
    check_settings,
    importable,
    known_lightning,
    settings_of,
    trusted_modules,
    walk_settings,
)
from vit.models.weights import stored_encoder

WHERE = Path("run/last.ckpt")
SHELL = {"class_path": "subprocess.Popen", "init_args": {"args": "touch taken", "shell": True}}


def lightning(name: str, **arguments) -> dict:
    return {"class_path": f"lightning.pytorch.{name}", "init_args": arguments}


ATTACKS = {
    "trainer.strategy.ddp_comm_state of lightning.pytorch.strategies.DDPStrategy": {
        "trainer": {"strategy": lightning("strategies.DDPStrategy", ddp_comm_state=SHELL)}
    },
    "trainer.callbacks.console_kwargs of lightning.pytorch.callbacks.RichProgressBar": {
        "trainer": {
            "callbacks": [lightning("callbacks.RichProgressBar", console_kwargs={"file": SHELL})]
        }
    },
    "trainer.profiler names lightning.pytorch.profilers.AdvancedProfiler": {
        "trainer": {"profiler": lightning("profilers.AdvancedProfiler", dirpath="/tmp")}
    },
    "trainer.callbacks names lightning.pytorch.callbacks.LambdaCallback": {
        "trainer": {
            "callbacks": lightning("callbacks.LambdaCallback", on_fit_start="os.getcwd")
        }
    },
    "trainer.callbacks names lightning.pytorch.callbacks.ModelCheckpoint": {
        "trainer": {"callbacks": [lightning("callbacks.ModelCheckpoint", dirpath="/tmp")]}
    },
    "trainer.callbacks is 'logs.foreign.Notes'": {"trainer": {"callbacks": "logs.foreign.Notes"}},
    "model.objective is 'logs.foreign.notes.f'": {"model": {"objective": "logs.foreign.notes.f"}},
    "model.optimizer.lr names torch.Tensor": {
        "model": {
            "optimizer": {
                "class_path": "torch.optim.SGD",
                "init_args": {"lr": {"class_path": "torch.Tensor"}},
            }
        }
    },
    "data names logs.foreign.Pictures": {"data": {"class_path": "logs.foreign.Pictures"}},
    "data is 'data.yaml'": {"data": "data.yaml"},
    "data.augmentation.erasing names subprocess.Popen": {
        "data": {
            "class_path": "vit.data.Digits",
            "init_args": {"augmentation": {"erasing": SHELL}},
        }
    },
    "data is no class with its settings (['dict_kwargs'])": {
        "data": {"class_path": "vit.data.Digits", "dict_kwargs": {"x": 1}}
    },
    "data is no class with its settings (3)": {"data": {"class_path": 3}},
    "trainer.strategy is '{\"class_path\"": {"trainer": {"strategy": json.dumps(
        lightning("strategies.DDPStrategy", ddp_comm_hook="vit.models.torch_files.save_torch"))}},
    "trainer.strategy is 'strategy.yaml'": {"trainer": {"strategy": "strategy.yaml"}},
    "trainer.profiler is '/tmp/x'": {"trainer": {"profiler": "/tmp/x"}},
    "it has a key 'config'": {"config": "more.yaml"},
    "it has a key 'trainer.profiler.class_path'": {"trainer.profiler.class_path": "x"},
    "trainer has a key 'profiler.class_path'": {"trainer": {"profiler.class_path": "x"}},
    "model.encoder names vit.models.torch_files.save_torch": {
        "model": {"encoder": {"class_path": "vit.models.torch_files.save_torch",
                              "init_args": {"path": "victim"}}}},
    "model.encoder names vit.models.nowhere.X": {
        "model": {"encoder": {"class_path": "vit.models.nowhere.X"}}},
    "model.spec is": {"model": {"spec": {"a": 1}}},
    "names vit.cli.main": {"model": {"objective": {"class_path": "vit.cli.main"}}},
}  # fmt: skip


@pytest.mark.parametrize("line", ATTACKS)
def test_what_is_not_listed_is_refused_by_its_key_and_class(line):
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        check_settings(ATTACKS[line], WHERE)
    assert str(caught.value).startswith("run/last.ckpt: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "trainer: {}", "model: 3\ndata: {}\ntrainer: {}", "a"])
def test_settings_without_their_parts_are_damaged(text):
    with pytest.raises(ValueError, match=r"run/last\.ckpt: its settings are damaged \(it needs tr"):
        settings_of(text, WHERE, ())


def test_a_bomb_of_aliases_is_not_expanded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ValueError, match=r"run/last\.ckpt"):
        settings_of("\n".join(lines), WHERE, ())


def test_a_class_that_has_another_name_now_is_told_by_both():
    settings = {"trainer": {"callbacks": [{"class_path": "vit.callbacks.KNN"}]}}
    with pytest.raises(ValueError, match=r"trainer\.callbacks names vit\.callbacks\.KNN, which is"):
        check_settings(settings, WHERE)


def test_a_person_may_trust_a_package_and_its_classes_alone():
    settings = {"data": {"class_path": "logs.foreign.Pictures"}}
    assert check_settings(settings, WHERE, trusted=("logs",)) == settings
    with pytest.raises(ValueError, match=r"--trust logs$"):
        check_settings(settings, WHERE, trusted=("log",))


def test_a_trusted_module_that_is_not_there_is_a_mistake_of_usage():
    with pytest.raises(UsageError, match="--trust: no module 'nowhere_to_be_found'"):
        trusted_modules("nowhere_to_be_found")


def test_every_listed_class_of_lightnings_passes_as_the_parser_records_it():
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(Trainer, "trainer")
    words = ["--trainer.strategy=DDPStrategy", "--trainer.strategy.find_unused_parameters=true",
             "--trainer.callbacks+=EarlyStopping",
             "--trainer.callbacks.monitor=val/loss",
             f"--trainer.plugins+={next(x for x in known_lightning() if 'SLU' in x)}"]  # fmt: skip
    names = [name.split(".")[1] for name in LIGHTNING if name.startswith("callbacks.")]
    words += [f"--trainer.callbacks+={name}" for name in names if name != "EarlyStopping"]
    settings = yaml.safe_load(parser.dump(parser.parse_args(words), skip_unset=False))
    named = {value["class_path"] for _, value in walk_settings(settings, "")
             if isinstance(value, dict) and "class_path" in value}  # fmt: skip
    assert named == set(known_lightning())
    assert check_settings(settings, WHERE) == settings


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("work")
    ended = launch(
        "fit", "--config", "configs/quickstart.yaml", "--trainer.max_epochs", "1",
        "--test_after_fit", "false", "--trainer.limit_train_batches", "2",
        "--model.encoder.width", "32", "--model.encoder.depth", "1", cwd=cwd,
    )  # fmt: skip
    assert ended.code == 0, ended.out
    return cwd / ended.run


def attacked(run: Path, cwd: Path, change: dict) -> Path:
    """A copy of a run whose stored config is a stranger's."""
    stored = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    settings = yaml.safe_load(stored["config"])
    for key, part in change.items():
        settings[key] |= part
    stored["config"] = yaml.safe_dump(settings)
    folder = cwd / "logs/foreign/run"
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(stored, folder / "checkpoints/last.ckpt")
    (folder / "config.yaml").write_text(stored["config"])
    return folder


VERBS = [("test", "--from"), ("validate", "--from"), ("predict", "--from"), ("evaluate",),
         ("fit", "--resume"), ("export", "--to", "timm")]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_no_verb_runs_what_a_stored_config_asks_for(run, tmp_path, verb):
    folder = attacked(run, tmp_path, next(iter(ATTACKS.values())))
    ended = launch(*verb, str(folder), cwd=tmp_path)
    assert not (tmp_path / "taken").exists()
    assert ended.code == 2
    (line,) = ended.out.strip().splitlines()
    assert "ddp_comm_state" in line
    assert "last.ckpt" in line


def test_a_run_without_a_checkpoint_is_no_way_round(run, tmp_path):
    folder = attacked(run, tmp_path, next(iter(ATTACKS.values())))
    (folder / "checkpoints/last.ckpt").unlink()
    ended = launch("fit", "--resume", str(folder), cwd=tmp_path)
    assert not (tmp_path / "taken").exists()
    assert ended.code == 2


def test_a_file_that_a_stored_config_names_is_held_against_the_same_list(run, tmp_path):
    """The parser would read it; it may import no more than the config itself."""
    (tmp_path / "notes.py").write_text("open('taken', 'w')\nclass X: pass\n")
    (tmp_path / "more.yaml").write_text("erasing: {class_path: notes.X}\n")
    folder = attacked(run, tmp_path, {})
    stored = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    settings = yaml.safe_load(stored["config"])
    settings["data"]["init_args"]["augmentation"] = "more.yaml"
    stored["config"] = yaml.safe_dump(settings)
    torch.save(stored, folder / "checkpoints/last.ckpt")
    ended = launch("test", "--from", str(folder), cwd=tmp_path)
    assert ended.code == 2
    assert not (tmp_path / "taken").exists()


def test_typed_settings_run_no_commands_either(tmp_path):
    config = {"trainer": {"callbacks": [lightning("callbacks.RichProgressBar",
              console_kwargs={"file": SHELL})]}}  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    launch("fit", "--config", "configs/quickstart.yaml", "--config", "mine.yaml",
           "--trainer.max_steps", "1", cwd=tmp_path)  # fmt: skip
    assert not (tmp_path / "taken").exists()


def test_what_the_parser_refuses_is_said_in_our_words(run, tmp_path):
    typed = launch("fit", "--config", "configs/quickstart.yaml",
                   "--model.optimizer.class_path", "subprocess.Popen", cwd=tmp_path)  # fmt: skip
    assert typed.code == 2
    assert typed.out.strip() == (
        "error: model.optimizer: subprocess.Popen could run commands or touch files; "
        "no setting may name it"
    )
    (tmp_path / "notes.py").write_text("open('taken', 'w')\nclass X: pass\n")
    told = launch("test", "--from", str(run), "--data.class_path", "notes.X", cwd=tmp_path)
    assert "notes.X is not imported for stored settings; if you know that package: --trust notes" \
        in told.out  # fmt: skip
    assert not (tmp_path / "taken").exists()


def test_a_clean_run_is_no_attack(run, tmp_path):
    folder = attacked(run, tmp_path, {})
    ended = launch("test", "--from", str(folder), cwd=tmp_path)
    assert ended.code == 0, ended.out


def test_the_parser_s_own_settings_are_put_back():
    import jsonargparse._common as parsing

    before = dict(parsing.parsing_settings)
    with parser_workarounds.importing(importable(())):
        assert parsing.denying_import_path_entry("vit.data.Digits") is None
        assert parsing.denying_import_path_entry("notes.X") == "*"
    assert parsing.parsing_settings == before


# ---- encoders out of checkpoints ----------------------------------------------------------------

STRANGER = """
from pathlib import Path
from vit.models.vit import ViT
Path({taken!r}).touch()

class Own(ViT):
    "Somebody's."
"""


@pytest.fixture
def stranger(tmp_path, monkeypatch) -> Path:
    """A checkpoint that names an encoder of a module beside it."""
    (tmp_path / "somebody.py").write_text(STRANGER.format(taken=str(tmp_path / "taken")))
    monkeypatch.syspath_prepend(str(tmp_path))
    stored = content(small_vit())
    stored["encoder"]["class_path"] = "somebody.Own"
    yield save(stored, tmp_path)
    sys.modules.pop("somebody", None)


def test_an_encoder_that_is_not_known_is_refused_before_any_import(stranger, tmp_path):
    with pytest.raises(ValueError, match=r"holds a somebody\.Own, .*: --trust somebody$"):
        stored_encoder(stranger).build(GREY)
    assert not (tmp_path / "taken").exists()
    assert "somebody" not in sys.modules


def test_a_trusted_encoder_is_built(stranger):
    assert trusted_modules("somebody") == ("somebody",)
    assert type(stored_encoder(stranger).build(GREY)).__name__ == "Own"


def test_settings_that_no_encoder_takes_are_one_line(tmp_path):
    stored = content(small_vit())
    stored["encoder"]["settings"]["widht"] = 3
    with pytest.raises(ValueError, match=r"last\.ckpt is of another version of vit\.models\.vit"):
        stored_encoder(save(stored, tmp_path)).build(GREY)


@pytest.mark.parametrize("about", [{}, {"grid": 3}, {"grid": [0, 0]}, {"grid": None, "spec": {}}])
def test_a_damaged_description_is_one_line(tmp_path, about):
    stored = content(small_vit()) | {"encoder": about}
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged or foreign \(its encoder's"):
        stored_encoder(save(stored, tmp_path))


def test_the_runs_of_a_study_are_told_what_is_trusted(monkeypatch):
    from vit.cli import compare

    seen = []
    monkeypatch.setattr(sys, "argv", ["train.py", "test"])
    main = lambda argv: seen.append(argv) or 0  # noqa: E731
    assert compare.trusting(main, "mine", ["test", "--from", "x"]) == 0
    assert seen == [["test", "--from", "x", "--trust", "mine"]]
    assert sys.argv == ["train.py", "test", "--trust", "mine"]

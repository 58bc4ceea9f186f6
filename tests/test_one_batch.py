"""docs/one_batch.md names the functions that a batch meets, in the order in which it meets them."""

import re
import sys
import warnings
from pathlib import Path

import pytest
from lightning.pytorch import Callback

from launch import ROOT
from vit import module
from vit.callbacks.run import Plan
from vit.callbacks.run_log import RunLog
from vit.cli.engine import CLI
from vit.module import ViTModule

ROW = re.compile(r"^\| \d+ \| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
SOURCE = ROOT / "src" / "vit"
HOOKS = re.findall(r"^    +(\w+) {2,}", module.__doc__, re.MULTILINE)


def listed() -> list[tuple[str, str]]:
    return ROW.findall((ROOT / "docs" / "one_batch.md").read_text())


class Step(Callback):
    """Watches the functions of this project from the end of one step to the end of the next."""

    def __init__(self, number: int) -> None:
        self.number, self.called = number, {}

    def note(self, frame, event, arg):
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(SOURCE):
            key = (str(file.relative_to(SOURCE)), frame.f_code.co_qualname)
            self.called.setdefault(key, len(self.called))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.number - 1:
            sys.setprofile(self.note)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.number:
            sys.setprofile(None)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[CLI, Step, list[str]]:
    """Three steps and a validation; what one step called, and the module's hooks as they came."""
    folder = tmp_path_factory.mktemp("run")
    argv = [
        f"--config={ROOT}/configs/pretrain/mpp.yaml", "--trainer.max_steps=3",
        "--trainer.log_every_n_steps=2", "--trainer.limit_val_batches=1",
        "--trainer.enable_progress_bar=false", "--trainer.callbacks=null",
        "--trainer.accelerator=cpu",
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # LightningCLI uses jsonargparse so
        cli = CLI(argv, Plan("fit", None, folder, 0, "test"), RunLog())
    step, hooks = Step(2), []
    for name in (name for name in HOOKS if name in vars(ViTModule)):
        method = getattr(cli.model, name)

        def called(*args, _name=name, _call=method, **more):
            hooks.append(_name)
            return _call(*args, **more)

        setattr(cli.model, name, called)
    cli.trainer.callbacks.append(step)
    cli.trainer.fit(cli.model, cli.datamodule)
    return cli, step, hooks


def test_a_step_meets_the_listed_functions_in_this_order(run):
    met = [run[1].called.get(row) for row in listed()]
    assert None not in met, [row for row, at in zip(listed(), met, strict=True) if at is None]
    assert met == sorted(met)


def test_the_list_is_short_and_each_file_stands_once():
    files = [file for file, _ in listed()]
    assert 10 <= len(files) <= 12
    assert len(set(files)) == len(files)


def test_the_module_names_its_hooks_in_the_order_of_their_calls(run):
    order = list(dict.fromkeys(run[2]))
    assert order == [name for name in HOOKS if name in order]
    assert set(order) == {name for name in HOOKS if name in vars(ViTModule)}


def test_no_hook_of_the_module_is_left_out():
    hooks = {name for name in vars(ViTModule) if name.startswith(("on_", "configure_"))}
    others = {"on_load_checkpoint", "on_test_epoch_start", "on_test_epoch_end"}
    assert hooks - others <= set(HOOKS)

"""Somebody stops a run: the step is finished and saved, and going on gives the same run."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from builders import small_vit
from launch import ROOT, Ended, launch
from test_orphans import living
from vit.callbacks.interruption import SIGNALS, Interruption
from vit.data import Digits
from vit.module import ViTModule
from vit.objectives.supervised import Supervised

TINY = (
    *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "8"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    *("--trainer.accelerator", "cpu", "--data.batch_size", "24", "--checkpoint_every", "100"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
    *("--model.encoder.dropout", "0.1"),
)
DDP = ("--trainer.strategy", "ddp", "--trainer.devices", "2")


def fit(cwd: Path, name: str, *extra: str, log_every: int = 1, **how) -> Ended:
    return launch(
        "fit", "--config", "configs/pretrain/supervised.yaml", *TINY, *extra,
        "--trainer.log_every_n_steps", str(log_every), "--name", name, cwd=cwd, **how,
    )  # fmt: skip


def only_run(cwd: Path, name: str) -> Path:
    (run,) = (cwd / "logs" / name).iterdir()
    return run


def checkpoint(run: Path) -> dict:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def stopped(cwd: Path, ended: Ended, step: int) -> Path:
    """The folder of a run that was stopped after this step, all said and saved."""
    run = only_run(cwd, "stopped")
    assert (
        f"interrupted at step {step}; the last checkpoint is of step {step}; go on with: "
        f"python train.py fit --resume {run.relative_to(cwd)}"
    ) in ended.out.splitlines()
    assert "Traceback" not in ended.everything
    assert checkpoint(run)["global_step"] == step
    assert json.loads((run / "summary.json").read_text())["status"] == "interrupted"
    assert not list(run.rglob("*.part"))
    return run


def same(first: Path, second: Path) -> bool:
    a, b = checkpoint(first)["state_dict"], checkpoint(second)["state_dict"]
    metrics = [(run / "metrics.csv").read_bytes() for run in (first, second)]
    return metrics[0] == metrics[1] and all(torch.equal(a[name], b[name]) for name in a)


def goes_on(cwd: Path, run: Path, ranks: int = 1) -> None:
    ended = launch("fit", "--resume", str(run), cwd=cwd, ranks=ranks)
    assert ended.code == 0, ended.everything
    assert "arning" not in ended.everything
    assert json.loads((run / "summary.json").read_text())["status"] == "completed"


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A run that nobody stopped."""
    cwd = tmp_path_factory.mktemp("work")
    ended = fit(cwd, "straight")
    assert ended.code == 0, ended.everything
    return only_run(cwd, "straight")


@pytest.mark.parametrize(
    ("number", "name", "batch", "step"),
    [
        (signal.SIGTERM, "SIGTERM", 3, 4),
        (signal.SIGUSR1, "SIGUSR1", 7, 8),  # a validation follows, which is not lost
        (signal.SIGINT, "Ctrl-C", 15, 16),  # the last step, with a validation and a probe to come
    ],
)
def test_a_signal_stops_after_the_step_and_nothing_is_lost(
    straight, tmp_path, number, name, batch, step
):
    ended = fit(tmp_path, "stopped", signal_at=(batch, number))
    assert ended.code == 128 + number
    assert f"{name}: stopping after this step; Ctrl-C stops at once" in ended.out.splitlines()
    run = stopped(tmp_path, ended, step)
    goes_on(tmp_path, run)
    assert same(straight, run)


def test_a_signal_inside_an_accumulated_step_waits_for_its_end(tmp_path):
    halves = ("--trainer.accumulate_grad_batches", "2")
    assert fit(tmp_path, "straight", *halves).code == 0
    ended = fit(tmp_path, "stopped", *halves, signal_at=(4, signal.SIGTERM))
    assert ended.code == 143
    run = stopped(tmp_path, ended, 3)
    assert checkpoint(run)["consumed"] == 6
    goes_on(tmp_path, run)
    assert same(only_run(tmp_path, "straight"), run)


def test_all_ranks_stop_at_the_same_logged_step_when_one_is_told(tmp_path):
    assert fit(tmp_path, "straight", *DDP, log_every=3, ranks=2).code == 0
    ended = fit(
        tmp_path, "stopped", *DDP, log_every=3, ranks=2,
        signal_at=(3, signal.SIGTERM), signal_rank=1,
    )  # fmt: skip
    assert ended.code == 143
    run = stopped(tmp_path, ended, 6)
    goes_on(tmp_path, run, ranks=2)
    assert same(only_run(tmp_path, "straight"), run)


def listening() -> Interruption:
    listener = Interruption()
    listener.stepping = True
    return listener


def test_a_second_ctrl_c_stops_at_once_and_a_second_notice_does_not(capsys):
    listener = listening()
    listener.note(signal.SIGTERM, None)
    listener.note(signal.SIGUSR1, None)
    assert capsys.readouterr().err.count("stopping after this step") == 1
    with pytest.raises(KeyboardInterrupt):
        listener.note(signal.SIGINT, None)


@pytest.mark.parametrize("number", SIGNALS)
def test_without_a_step_to_wait_for_it_stops_at_once(number):
    listener = Interruption()
    with pytest.raises(KeyboardInterrupt):
        listener.note(number, None)
    assert listener.signal == number


class Sender(Callback):
    """Sends SIGUSR1 to its own process while a verb runs."""

    def on_test_batch_start(self, *_):
        os.kill(os.getpid(), signal.SIGUSR1)


def test_a_notice_during_a_test_ends_it_and_handlers_are_put_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    listener, module = Interruption(), ViTModule(Supervised, small_vit, spec=Digits().spec)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, callbacks=[listener, Sender()])  # fmt: skip
    with pytest.raises(SystemExit):
        trainer.test(module, Digits(), verbose=False)
    assert listener.signal == signal.SIGUSR1
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("early", [False, True], ids=["notice first", "failing writes first"])
def test_a_closed_terminal_ends_the_run_as_a_notice_does(tmp_path, straight, early):
    """In a terminal of its own, which is closed in the middle; nobody is there to be told."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    master, slave = pty.openpty()
    words = ["fit", "--config", "configs/pretrain/supervised.yaml", *TINY, "--name", "stopped"]
    words += ["--trainer.log_every_n_steps", "1", "--trainer.enable_progress_bar", "true"]
    code = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # nohup ignores it
    code += "; sys.path.insert(0, sys.argv.pop(1)); import waiting_fit"
    (tmp_path / "waiting_fit.py").write_text(WAITING.replace("EARLY", str(early)))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), *words], cwd=tmp_path, stdin=slave,
        stdout=slave, stderr=slave, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while b"step 3" not in seen:
        seen += os.read(master, 4096)
    os.close(master)
    assert process.wait(60) == 128 + signal.SIGHUP
    run = only_run(tmp_path, "stopped")
    assert json.loads((run / "summary.json").read_text())["status"] == "interrupted"
    goes_on(tmp_path, run)
    assert same(straight, run)


WAITING = """
import fcntl
import os
import signal
import sys
import termios
import time

import torch

from vit.cli import main
from vit.module import ViTModule

fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal is this process's own
torch.set_num_threads(1)
honest = ViTModule.on_train_batch_start


def waiting(self, batch, batch_idx):
    if self.consumed == 3 and not hasattr(self, "waited"):
        self.waited = True
        listener = signal.getsignal(signal.SIGHUP)
        if EARLY:
            signal.signal(signal.SIGHUP, lambda *_: None)
        print("step 3", flush=True)
        while os.isatty(1):
            time.sleep(0.01)
        if EARLY:
            print("to a terminal that is gone", flush=True)
            print("to a terminal that is gone", file=sys.stderr, flush=True)
            signal.signal(signal.SIGHUP, listener)
            os.kill(os.getpid(), signal.SIGHUP)
    return honest(self, batch, batch_idx)


ViTModule.on_train_batch_start = waiting
sys.exit(main(sys.argv[1:]))
"""


GROUP = """
import signal
import sys
import time

import torch

from vit.cli import main
from vit.module import ViTModule

torch.set_num_threads(1)
honest = ViTModule.on_train_batch_start


def waiting(self, batch, batch_idx):
    if self.consumed == 3 and not hasattr(self, "waited"):
        self.waited, listener = True, self.trainer.callbacks
        (listener,) = [x for x in listener if type(x).__name__ == "Interruption"]
        print("step 3", flush=True)
        while not listener.signal:
            time.sleep(0.01)
        time.sleep(0.5)  # whoever dies of the notice is dead by now
    return honest(self, batch, batch_idx)


ViTModule.on_train_batch_start = waiting
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_notice_to_the_whole_group_leaves_the_loading_processes_at_work(
    straight, tmp_path, number
):
    """As a terminal's Ctrl-C and a cluster send it: loaders would be the first to die of it."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "group_fit.py").write_text(GROUP)
    argv = ["fit", "--config", "configs/pretrain/supervised.yaml", *TINY, "--name", "stopped"]
    argv += ["--trainer.log_every_n_steps", "1", "--data.workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "group_fit.py", *argv], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    said = ""
    with process:
        for line in process.stdout:
            said += line
            if line == "step 3\n":
                os.killpg(process.pid, number)
    assert process.returncode == 128 + number, said
    assert "killed" not in said, said
    run = only_run(tmp_path, "stopped")
    assert checkpoint(run)["global_step"] == 4
    assert json.loads((run / "summary.json").read_text())["status"] == "interrupted"
    assert not living(tmp_path)
    goes_on(tmp_path, run)
    assert same(straight, run)


def test_a_notice_in_the_middle_of_a_write_is_taken_without_a_word(monkeypatch):
    class Busy:
        def write(self, text):
            raise RuntimeError("reentrant call")

    listener = listening()
    monkeypatch.setattr(sys, "stderr", Busy())
    listener.note(signal.SIGTERM, None)
    assert listener.signal == signal.SIGTERM


def test_under_nohup_a_closed_terminal_stops_nobody(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = {number: signal.getsignal(number) for number in SIGNALS if number != signal.SIGHUP}
    try:
        Interruption().listen()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        for number, handler in others.items():
            signal.signal(number, handler)

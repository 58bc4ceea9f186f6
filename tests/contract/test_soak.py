"""SIGKILLs at random instants over settings drawn at random: every run ends as if nobody came by.

`pytest --slow tests/contract/test_soak.py --kills 9`: twelve settings, nine kills each. A setting
is what its number draws; a chain of kills and resumptions is compared with a run never killed:
weights bit for bit, metrics.csv byte for byte, which test images were right, the summary's figures.
"""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from launch import Ended, launch
from pictures import folder

SETTINGS = range(12)
CHAIN = 3  # kills of one run before it is left to end
CHOICES = {  # what a setting may be, beside its number
    "data": ("digits", "pictures", "shards", "several labels", "unreadable"),
    "workers": (0, 2),
    "ema": (None, 0.9),
    "accumulate": (1, 2),
    "mixing": (False, True),
    "optimizer": ("torch.optim.AdamW", "torch.optim.SGD", "vit.optim.muon.Muon"),
    "length": ("epochs", "steps"),
    "stopping": (False, True),
    "tested": (False, True),
    "ranks": (1, 1, 2),
}
TINY = (
    *("fit", "--config", "configs/pretrain/supervised.yaml", "--trainer.accelerator", "cpu"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
    *("--model.encoder.dropout", "0.1", "--model.encoder.drop_path", "0.1", "--data.batch_size"),
    *("24", "--trainer.log_every_n_steps", "1", "--checkpoint_every", "3"),
    *("--trainer.enable_progress_bar", "false", "--trainer.callbacks", "null"),
)
PICTURES = ("--data.image_size", "16", "--model.encoder.patch_size", "4")


@dataclass
class Setting:
    """One setting; the field names are those of CHOICES."""

    data: str
    workers: int
    ema: float | None
    accumulate: int
    mixing: bool
    optimizer: str
    length: str
    stopping: bool
    tested: bool
    ranks: int

    def words(self) -> list[str]:
        """Of the command line."""
        words = [*TINY, *getattr(self, f"_{self.data.replace(' ', '_')}")()]
        words += ["--model.optimizer", self.optimizer, "--model.optimizer.lr", "0.003"]
        words += ["--model.ema", str(self.ema)] if self.ema else []
        words += ["--trainer.accumulate_grad_batches", str(self.accumulate)]
        words += ["--model.objective.mixing", "Mixing"] if self.mixing else []
        words += ["--test_after_fit", str(self.tested).lower()]
        epochs = (
            *("--trainer.max_steps", "-1", "--trainer.max_epochs", "3"),
            *("--trainer.check_val_every_n_epoch", "2", "--trainer.val_check_interval", "1.0"),
        )
        steps = ("--trainer.max_steps", "14", "--trainer.val_check_interval", "5")
        words += epochs if self.length == "epochs" else steps
        if self.stopping:
            words += ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss",
                      "--trainer.callbacks.patience=1"]  # fmt: skip
        if self.ranks > 1:
            words += ["--trainer.strategy", "ddp", "--trainer.devices", str(self.ranks)]
        return words

    def _digits(self) -> list[str]:
        return ["--trainer.limit_train_batches", "6"]

    def _pictures(self) -> list[str]:
        return [*self._folder("plain"), "--data.balanced", "true"]

    def _several_labels(self) -> list[str]:
        return [*self._folder("several"), "--model.objective.loss", "sigmoid"]

    def _unreadable(self) -> list[str]:
        return [*self._folder("torn"), "--data.on_error", "skip", "--data.most_unread", "0.2"]

    def _shards(self) -> list[str]:
        return ["--data", "configs/data/shards.yaml", "--data.root", "shards", *PICTURES,
                "--data.workers", str(self.workers), "--data.batch_size", "24"]  # fmt: skip

    def _folder(self, name: str) -> list[str]:
        return ["--data", "configs/data/image_folder.yaml", "--data.root", name, *PICTURES,
                "--data.workers", str(self.workers), "--data.batch_size", "24"]  # fmt: skip


def setting(number: int) -> Setting:
    """The same for the same number: the data goes round, the rest is drawn."""
    draw = random.Random(number)
    found = {name: draw.choice(choices) for name, choices in CHOICES.items()}
    found["data"] = CHOICES["data"][number % len(CHOICES["data"])]
    found["mixing"] = found["mixing"] and found["data"] != "several labels"
    return Setting(**found)


def test_the_twelve_settings_hold_every_choice():
    drawn = [vars(setting(number)) for number in SETTINGS]
    for name, choices in CHOICES.items():
        assert {one[name] for one in drawn} == set(choices), name
    assert len({str(one) for one in drawn}) == len(drawn)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """All kinds of data."""
    cwd = tmp_path_factory.mktemp("soak")
    plain = folder(cwd / "plain", {"cat": 60, "dog": 62}, kind="PNG", width=20, height=18)
    several = folder(cwd / "several", {"": 120}, kind="PNG", width=20, height=18)
    rows = [f"{file.name},{('cat', 'dog', 'cat;dog')[i % 3]}"
            for i, file in enumerate(sorted(several.glob("*.png")))]  # fmt: skip
    (several / "labels.csv").write_text("\n".join(["file,labels", *rows]) + "\n")
    torn = folder(cwd / "torn", {"cat": 60, "dog": 60}, kind="PNG", width=20, height=18)
    for file in sorted(torn.rglob("*.png"))[::20]:
        file.write_bytes(file.read_bytes()[:100])
    made = launch("prepare", "--to", "shards", "--per_shard", "20", "--out", "shards", "--data",
                  "configs/data/image_folder.yaml", "--data.root", plain.name, cwd=cwd)  # fmt: skip
    assert made.code == 0, made.everything
    return cwd


def runs(cwd: Path, name: str) -> list[Path]:
    """Folders of a name in which something was begun."""
    return [run for run in (cwd / "logs" / name).glob("*") if (run / "config.yaml").is_file()]


def assert_equal(first: Path, second: Path) -> None:
    a, b = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (first, second))
    assert a["global_step"] == b["global_step"]
    assert all(torch.equal(a["state_dict"][k], b["state_dict"][k]) for k in a["state_dict"])
    for name in ("metrics.csv", "correct.csv"):
        texts = [(run / name).read_bytes() if (run / name).is_file() else b""
                 for run in (first, second)]  # fmt: skip
        assert texts[0] == texts[1], name
    figures = []
    for run in (first, second):
        summary = json.loads((run / "summary.json").read_text())
        assert summary["status"] == "completed"
        figures.append({k: v for k, v in summary.items() if "/" in k} | {
            "images": summary["images_seen"]})  # fmt: skip
    assert figures[0] == figures[1]


def killed(cwd: Path, words: list[str], name: str, ranks: int, delay: float) -> Ended:
    """Begin a run, or go on with it, and kill it after so many seconds."""
    begun = runs(cwd, name)
    words = ["fit", "--resume", str(begun[0])] if begun else [*words, "--name", name]
    return launch(*words, cwd=cwd, ranks=ranks, kill_after=delay)


@pytest.mark.slow
@pytest.mark.parametrize("number", SETTINGS)
def test_kills_at_random_instants_change_nothing(work, number, request):
    one, draw = setting(number), random.Random(1000 + number)
    words, name = one.words(), f"straight{number}"
    started = time.monotonic()
    straight = launch(*words, "--name", name, cwd=work, ranks=one.ranks)
    whole = time.monotonic() - started
    assert straight.code == 0, f"{one}\n{straight.everything}"
    (first,) = runs(work, name)
    kills, wanted, chain = 0, request.config.getoption("--kills"), 0
    while kills < wanted:
        chain, name = chain + 1, f"killed{number}_{chain}"
        for _ in range(min(CHAIN, wanted - kills)):
            # torch and the rest are loaded in the first tenth: nothing of ours is there to harm
            ended = killed(work, words, name, one.ranks, whole * draw.uniform(0.1, 1.0))
            kills += ended.code == 9
            if ended.code == 0:
                break
            assert ended.code == 9, f"{one}\n{ended.everything}"
        begun = runs(work, name)
        last = ("fit", "--resume", str(begun[0])) if begun else (*words, "--name", name)
        ended = launch(*last, cwd=work, ranks=one.ranks)
        assert ended.code == 0, f"{one}\n{ended.everything}"
        (second,) = runs(work, name)
        assert_equal(first, second)
    print(f"setting {number}: {kills} kills in {chain} runs, equal")

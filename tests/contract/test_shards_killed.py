"""Training on shards over real processes and workers, killed in mid-epoch; exact evaluation."""

import json
from pathlib import Path

import pytest
import torch

from launch import launch
from pictures import folder
from vit.data import ShardImages

RANKS = 3
SMALL = (
    *("--data", "configs/data/shards.yaml", "--data.root", "shards", "--data.image_size", "16"),
    *("--data.workers", "2", "--data.batch_size", "24", "--data.eval_batch_size", "7"),
    *("--model.encoder.patch_size", "4", "--model.encoder.width", "32"),
    *("--model.encoder.depth", "1", "--model.encoder.heads", "2"),
    *("--trainer.max_epochs", "2", "--trainer.max_steps", "-1", "--trainer.accelerator", "cpu"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    *("--trainer.log_every_n_steps", "1", "--checkpoint_every", "2"),
)


def many(ranks: int) -> tuple[str, ...]:
    kind = "ddp" if ranks > 1 else "auto"
    return ("--trainer.strategy", kind, "--trainer.devices", str(ranks))


def only(cwd: Path, name: str) -> Path:
    (run,) = (cwd / "logs" / name).iterdir()
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_run_on_seven_shards_is_killed_resumed_and_judged_exactly(tmp_path):
    folder(tmp_path / "mine", {"a": 100, "b": 101}, width=24, height=20)
    made = launch(
        "prepare", "--to", "shards", "--per_shard", "21", "--out", "shards",
        "--data", "configs/data/image_folder.yaml", "--data.root", "mine", cwd=tmp_path,
    )  # fmt: skip
    assert made.code == 0, made.everything
    assert len(list((tmp_path / "shards").glob("train-*.tar"))) == 7
    words = ("fit", "--config", "configs/pretrain/supervised.yaml", *SMALL, *many(RANKS))
    straight = launch(*words, "--name", "straight", cwd=tmp_path, ranks=RANKS)
    assert straight.code == 0, straight.everything
    assert "arning" not in straight.everything
    assert launch(*words, "--name", "killed", cwd=tmp_path, ranks=RANKS, kill_at=9).code == 9
    killed, whole = only(tmp_path, "killed"), only(tmp_path, "straight")
    resumed = launch("fit", "--resume", str(killed), cwd=tmp_path, ranks=RANKS)
    assert resumed.code == 0, resumed.everything
    assert "resumed at step 8" in resumed.out
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(killed).items())
    assert (killed / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()

    rights, losses = set(), []
    for ranks in (1, 2, 3, 5):
        judged = launch("test", "--from", str(whole), *many(ranks), cwd=tmp_path, ranks=ranks)
        assert judged.code == 0, judged.everything
        summary = json.loads((whole / "summary.test.json").read_text())
        rights.add(((whole / "correct.csv").read_text(), summary["test/accuracy"]))
        losses.append(summary["test/loss"])
    assert len(rights) == 1
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-6)
    count = ShardImages(root=str(tmp_path / "shards"), image_size=16).spec.counts["test"]
    assert len((whole / "correct.csv").read_text().splitlines()) == count + 1

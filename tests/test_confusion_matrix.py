"""The confusion matrix is scikit-learn's, and the pictures reach TensorBoard."""

from collections import Counter

import torch
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from launch import launch
from vit.callbacks.confusion_matrix import draw_matrix

SHORT = ("fit", "--config", "configs/pretrain/supervised.yaml", "--trainer.max_steps", "20",
         "--trainer.callbacks", "ConfusionMatrix",
         "--trainer.val_check_interval", "10")  # fmt: skip


def test_pictures_of_mistakes_reach_tensorboard_and_change_no_weight(tmp_path):
    ended = launch(*SHORT, "--name", "with", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    assert "arning" not in ended.everything
    events = EventAccumulator(str(tmp_path / ended.run)).Reload()
    assert set(events.Tags()["images"]) == {"pictures/confusion", "pictures/worst_mistakes"}
    plain = launch(*SHORT[:5], *SHORT[7:], "--trainer.callbacks", "null", cwd=tmp_path)
    first, second = (
        torch.load(tmp_path / e.run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for e in (ended, plain)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_matrix_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    labels, guessed = (torch.randint(0, 3, (50,), generator=generator) for _ in range(2))
    table = (labels * 3 + guessed).bincount(minlength=9).view(3, 3)
    assert (table.numpy() == confusion_matrix(labels, guessed)).all()
    picture = draw_matrix(table.float(), ("a", "b", "c"))
    assert picture.shape[0] == 3
    assert 0 <= picture.min() < picture.max() <= 1
    colours = Counter(map(tuple, picture.flatten(1).T[::7].tolist()))
    assert len(colours) > 5


def test_self_supervised_runs_have_no_mistakes(tmp_path):
    ended = launch("fit", "--config", "configs/pretrain/mpp.yaml", *SHORT[3:], cwd=tmp_path)
    assert ended.code == 0, ended.everything
    assert not list(tmp_path.rglob("mistakes*"))

"""The command that a run names as the next can be pasted, whatever its folders are called."""

import csv
import shlex

from launch import Ended, launch
from pictures import folder

SHORT = ("fit", "--config", "configs/pretrain/supervised.yaml", "--trainer.max_steps", "2",
         "--trainer.callbacks", "null", "--trainer.val_check_interval", "2",
         "--name", "my run")  # fmt: skip
PICTURES = ("--data", "configs/data/image_folder.yaml", "--data.root", "my pictures",
            "--data.image_size", "16", "--data.batch_size", "8", "--data.workers", "0")  # fmt: skip


def commands(ended: Ended) -> list[str]:
    """What is named after `next:` and `or:`, below each other."""
    assert ended.code == 0, ended.everything
    return [
        line.partition(": ")[2]
        for line in ended.out.splitlines()
        if line.strip().startswith(("next: ", "or: "))
    ]


def test_after_a_test_on_pictures_they_are_predicted_or_the_model_exported(tmp_path):
    folder(tmp_path / "my pictures/train", {"cat": 12, "dog": 12})
    folder(tmp_path / "my pictures/test", {"cat": 4, "dog": 4})
    ended = launch(*SHORT, *PICTURES, "--test_after_fit", "true", cwd=tmp_path)
    run = shlex.quote(str(ended.run))
    assert run.startswith("'")
    after_fit = commands(ended)
    assert after_fit == [
        f"python train.py predict --from {run} --images 'my pictures/test'",
        f"python train.py export {run} --to onnx",
    ]
    tested = launch("test", "--from", str(ended.run), cwd=tmp_path)
    assert commands(tested) == after_fit
    pasted = launch(*shlex.split(after_fit[0])[2:], cwd=tmp_path)
    assert pasted.code == 0, pasted.everything
    rows = list(csv.DictReader(next(tmp_path.rglob("predictions*.csv")).read_text().splitlines()))
    assert len(rows) == 8


def test_a_tested_checkpoint_is_named_itself_and_not_the_folder_of_its_figures(tmp_path):
    first = launch(*SHORT, cwd=tmp_path)
    assert commands(first) == [f"python train.py test --from {shlex.quote(str(first.run))}"]
    file = first.run / "checkpoints/last.ckpt"
    tested = launch("test", "--from", str(file), "--name", "tested", cwd=tmp_path)
    assert commands(tested)[0] == f"python train.py predict --from {shlex.quote(str(file))}"
    assert tested.run != first.run


def test_after_self_supervision_on_own_pictures_comes_their_own_recipe(tmp_path):
    """Of what was typed, the words that say which pictures there are go on; speed does not."""
    root = folder(tmp_path / "my pictures", {"cat": 20, "dog": 20, "fox": 20})
    short = (*("fit", "--config", "configs/pretrain/mpp.yaml", *SHORT[3:]), *PICTURES)
    ended = launch(*short, "--data.classes", "[cat, dog]", cwd=tmp_path)
    run = shlex.quote(str(ended.run))
    (command,) = commands(ended)
    assert command == (
        "python train.py fit --config configs/finetune/own_images.yaml --data.root 'my pictures' "
        f"--data.classes '[cat, dog]' --model.pretrained {run}"
    )
    tuned = launch(*shlex.split(command)[2:], "--trainer.max_epochs", "1", "--data.batch_size",
                   "8", "--estimate", "false", cwd=tmp_path)  # fmt: skip
    assert tuned.code == 0, tuned.everything
    for path in sorted(root.rglob("*.jpg")):
        path.rename(root / path.name)
    loose = launch(*short, cwd=tmp_path)
    assert "--data.root <pictures, a folder a class> --model" in commands(loose)[0]

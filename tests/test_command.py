"""A command is settings until it is a line: what stands where, and what counts."""

from vit.compare.command import UPSTREAM, Command
from vit.compare.study import ConfigPatch

DATA = ConfigPatch("digits.yaml", {"classes": [0, 1], "label_draw": 3})
FIT = Command("fit", {"config": ConfigPatch("a.yaml"), "data": DATA})


def test_files_come_first_with_their_keys_and_whole_keys_last():
    command = FIT.with_settings({"keep_best": False}, {"trainer.max_steps": 5})
    assert command.argv() == [
        "fit", "--config", "a.yaml", "--data", "digits.yaml", "--data.classes", "[0, 1]",
        "--data.label_draw", "3", "--keep_best", "false", "--trainer.max_steps", "5",
    ]  # fmt: skip


def test_the_last_of_a_key_counts_and_files_stand_before_it():
    command = FIT.with_settings({"data.label_draw": 4}, {"data.label_draw": 5})
    assert command.values("data.label_draw") == [3, 4, 5]
    assert command.values("data.fold") == command.values("seed_everything") == []


def test_a_key_is_taken_out_wherever_it_stands():
    command = FIT.with_settings({"data.label_draw": 4, "seed_everything": 1})
    assert command.without("data.label_draw", "seed_everything").argv() == [
        "fit", "--config", "a.yaml", "--data", "digits.yaml", "--data.classes", "[0, 1]",
    ]  # fmt: skip
    assert FIT.files["data"].set == {"classes": [0, 1], "label_draw": 3}


def test_a_file_is_replaced_where_it_stands():
    command = FIT.with_file("config", "model.pretrained", UPSTREAM)
    assert command.argv("run")[:4] == ["fit", "--model.pretrained", "run", "--data"]


def test_a_line_for_the_shell_is_quoted_but_for_what_stands_for_the_run_before():
    command = Command("evaluate", {"data": DATA}, subject=UPSTREAM)
    assert command.shell("runs/*.f0/*") == (
        "python train.py evaluate runs/*.f0/* --data digits.yaml --data.classes '[0, 1]' "
        "--data.label_draw 3"
    )

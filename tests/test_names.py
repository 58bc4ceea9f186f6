"""Names of runs and studies: one check for every verb, and nothing lands outside its folder."""

from pathlib import Path

import pytest

from launch import launch
from vit.cli.argv import parent_folder, usable
from vit.cli.errors import UsageError

BAD = ["", ".", "..", "../x", "x/..", "/tmp/x", "a/b", "x/", "a\0b", "x" * 201, "é" * 101, "-x",
       "a\nb", "a\x1b[31m", "\udcff"]  # fmt: skip
GOOD = ["x", "..x", "x.y", "é" * 100, "my run", "運転", "a=b", "x-", "...", "a\\b", "$(x)"]
QUICK = ("--config", "configs/quickstart.yaml")
COMPARE = ("--config", "configs/compare/quick.yaml")


@pytest.mark.parametrize("name", BAD)
def test_what_names_no_folder_of_its_own_is_refused_in_one_line(name):
    with pytest.raises(UsageError, match=r"^--name: .* is no name for a folder; ") as told:
        parent_folder({"--name": name}, [])
    assert "\n" not in str(told.value)
    assert "\0" not in str(told.value)


@pytest.mark.parametrize("name", GOOD)
def test_letters_of_all_kinds_are_names(name):
    assert parent_folder({"--name": name}, []) == Path("logs") / name


@pytest.mark.parametrize("verb", ["fit", "evaluate", "compare"])
@pytest.mark.parametrize("name", ["../x", "..", "a/b", "-x"])
def test_every_verb_refuses_it_before_anything_is_made(tmp_path, verb, name):
    words = COMPARE if verb == "compare" else QUICK
    ended = launch(verb, *words, "--name", name, cwd=tmp_path)
    assert ended.code == 2, ended.everything
    assert f"error: --name: {name!r} is no name for a folder" in ended.out
    assert len(ended.out.strip().splitlines()) == 1
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--config", "configs/mine.yaml"], "mine"),
        (["-c", "configs/mine.yaml", "--config", "b.yaml"], "mine"),
        (["--config=logs/mine/2026_seed0/config.yaml"], "mine"),
        (["--config", "mine/2026_seed0/config.yaml"], "mine"),
        ([], "run"),
        (["--config", "{}"], "{}"),
    ],
)
def test_the_first_config_names_a_run_that_has_no_name(words, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parent_folder({}, words) == Path("logs") / name


@pytest.mark.parametrize("config", ["config.yaml", "../config.yaml", "../../config.yaml"])
def test_a_config_beside_one_names_its_run_wherever_one_stands(config, tmp_path, monkeypatch):
    """The folder above the run's may be out of the words: `..` is no name."""
    here = tmp_path / "deep" / "mine" / "seed0" / "checkpoints"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    above = {"config.yaml": "seed0", "../config.yaml": "mine", "../../config.yaml": "deep"}
    assert parent_folder({}, ["--config", config]) == Path("logs") / above[config]


def test_logs_that_are_no_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("dangling").symlink_to("nowhere")
    Path("round").symlink_to("round")
    Path("linked").symlink_to(tmp_path)
    for logs, line in (
        ("file", "--logs: file is a file; give a folder"),
        ("file/sub", "--logs: file is a file; give a folder"),
        ("dangling", "--logs: dangling is a link to nothing (nowhere); make that folder, or give"),
        ("dangling/sub", "--logs: dangling is a link to nothing"),
        ("round", "--logs: round is a link to nothing"),
        ("x" * 300, "--logs: "),
        ("a\0b", "--logs: "),
    ):
        for name in ({}, {"--name": "x"}):
            with pytest.raises(UsageError) as told:
                parent_folder({"--logs": logs} | name, [])
            assert str(told.value).startswith(line)
            assert "\n" not in str(told.value)
    with pytest.raises(UsageError, match="--logs: file is a file"):
        parent_folder({"--logs": ".", "--name": "file"}, [])
    for logs in ("linked", "new/deeper", ".", "..", "/tmp"):
        assert usable(Path(logs)) == Path(logs)


@pytest.mark.parametrize("verb", ["fit", "compare"])
@pytest.mark.parametrize("logs", ["file", "dangling"])
def test_verbs_refuse_such_logs(tmp_path, verb, logs):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    words = COMPARE if verb == "compare" else QUICK
    ended = launch(verb, *words, "--logs", logs, cwd=tmp_path)
    assert ended.code == 2, ended.everything
    assert f"error: --logs: {logs} is a" in ended.out
    assert len(ended.out.strip().splitlines()) == 1


def test_a_study_and_its_arms_are_named_by_the_same_rule(tmp_path):
    ended = launch("compare", *COMPARE, "--name", "runs", cwd=tmp_path)
    assert ended.code == 2
    assert "error: --name: 'runs' holds the runs of all studies; give another" in ended.out
    for name in ("-x", "x" * 195):  # a run's name is <arm>.<id>
        arm = tmp_path / f"{name}.yaml"
        arm.write_text("title: t")
        words = ("--arms", f"[{tmp_path}/{name}.yaml]", "--dry-run")
        ended = launch("compare", *COMPARE, *words, cwd=tmp_path)
        assert ended.code == 2, ended.everything
        assert f"error: {arm}: " in ended.out
        assert len(ended.out.strip().splitlines()) == 1

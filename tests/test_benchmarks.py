"""Benchmarks can be run: each at toy size, and the table has a row for each."""

import ast
import importlib.util
import json
import math
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10 as Published

from benchmarks import gpu, table
from pictures import folder
from vit.data import CIFAR10
from vit.data import cifar as cifar_module
from vit.published.download import md5_of

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(table.scripts())
ROWS = table.read_table(table.README.read_text())


@pytest.fixture
def measured(capsys):
    """Run a script as its command line does; the figures of its last line."""
    precision = torch.get_float32_matmul_precision()

    def run(script: str, *argv: str) -> list[float]:
        importlib.import_module(f"benchmarks.{script}").main(list(argv))
        line = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert line.keys() == {"claim", "measured"}
        return figures(line["measured"])

    yield run
    torch.set_float32_matmul_precision(precision)


def figures(text: str) -> list[float]:
    """The numbers of a text, `inf` and `nan` among them, each finite."""
    words = re.findall(r"(?<![\w.])(?:[\d,]*\d(?:\.\d+)?|inf|nan)\b", text)
    numbers = [float(word.replace(",", "")) for word in words]
    assert numbers, text
    assert all(map(math.isfinite, numbers)), text
    return numbers


def test_figures_that_are_none_would_be_noticed():
    assert figures("ViT-Ti/16: 1,204.5 ms, ratio 0.97 (0.9 to 1)") == [16, 1204.5, 0.97, 0.9, 1]
    for broken in ("ratio nan (nan to nan)", "inf images/s, ratio 1", "nothing"):
        with pytest.raises(AssertionError):
            figures(broken)


@pytest.fixture
def photographs(tmp_path) -> str:
    """Two classes of ten JPEG files."""
    return str(folder(tmp_path, {"a": 10, "b": 10}, width=320, height=300))


@pytest.fixture
def miniature_cifar(tmp_path, monkeypatch) -> str:
    """CIFAR-10's layout with 5,400 random training images, of which 5,000 are held out."""
    place = tmp_path / Published.base_folder
    place.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (1080, 3072), dtype=np.uint8)
    names = [name for name, _ in Published.train_list + Published.test_list]
    content = pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(1080)]})
    meta = pickle.dumps({"label_names": list(CIFAR10.names)})
    for name in names:
        (place / name).write_bytes(content)
    (place / "batches.meta").write_bytes(meta)
    listed = [[name, md5_of(place / name)] for name in names]
    lists = {"train_list": listed[:5], "test_list": listed[5:]}
    for name, files in lists.items():
        monkeypatch.setattr(Published, name, files)
    checked = Published.meta | {"md5": md5_of(place / "batches.meta")}
    monkeypatch.setattr(Published, "meta", checked)
    source = SimpleNamespace(base_folder=Published.base_folder, **lists)
    monkeypatch.setattr(CIFAR10, "published", source)
    yield str(tmp_path)
    cifar_module.read_batches.cache_clear()
    cifar_module._carved.cache_clear()


def test_decode_runs(measured, photographs):
    pytest.importorskip("timm")
    assert measured("decode", photographs, "--rounds", "1")


def test_first_step_runs(measured):
    assert measured("first_step", "--rounds", "1", "--warm-up", "0")


def test_the_trainer_of_transformers_runs(tmp_path):
    pytest.importorskip("accelerate")
    pytest.importorskip("transformers")
    importlib.import_module("benchmarks.trainer_peer").main(str(tmp_path))


def test_listing_runs(measured):
    assert measured("listing", "--files", "160", "--folders", "4")


def test_loader_cifar_runs(measured, miniature_cifar):
    assert measured("loader_cifar", miniature_cifar, "--rounds", "1")


def test_loader_fit_runs(measured, photographs):
    assert measured("loader_fit", photographs, "--rounds", "1", "--batch", "2", "--steps", "1")


def test_step_objectives_runs(measured):
    toy = ("--size", "Ti/16", "--depth", "1", "--batch", "1", "--rounds", "1")
    assert measured("step_objectives", *toy)


@pytest.mark.parametrize("size", [(), ("--size", "Ti/112")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LightningCLI uses jsonargparse so
def test_step_overhead_runs(measured, size):
    assert measured("step_overhead", *size, "--epochs", "1", "--rounds", "1")


def test_step_peers_runs(measured):
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    assert measured("step_peers", "--batch", "1", "--rounds", "1")


def test_step_trees_runs(measured):
    toy = ("--objectives", "mae", "--encoders", "mini", "--batch", "2", "--rounds", "1")
    assert measured("step_trees", *toy, "--other", str(ROOT / "src"))


TOY = SimpleNamespace(toy=True, cifar=None, seconds=1.0, least=0.0)


@pytest.mark.parametrize("part", ["about", "matmul", "loader"])
def test_a_part_of_the_gpu_record_runs(part):
    results = gpu.PARTS[part][1](TOY)
    assert figures(results["line"])
    assert json.loads(json.dumps(results)) == results


@pytest.mark.slow
@pytest.mark.parametrize("part", ["steps_b", "objectives", "fsdp"])
def test_a_part_of_the_gpu_record_runs_as_a_process(part):
    """As compiled code meets no checks of shapes there."""
    results = gpu.result_of(part, 300.0, TOY)
    assert "failed" not in results, results
    assert figures(results["line"])


STUB = """
import json, sys, time
part = sys.argv[sys.argv.index("--part") + 1]
if part == "loader":
    time.sleep(60)
if part == "fsdp":
    sys.exit("boom")
print("a word of some library")
print(json.dumps({"line": f"{part} 7"}))
"""


def test_a_part_that_fails_is_named_and_the_others_run(tmp_path, monkeypatch, capsys):
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    monkeypatch.setattr(gpu, "__file__", str(stub))
    monkeypatch.setitem(gpu.PARTS, "loader", (2.0, gpu.loader))
    parts = ("matmul", "fsdp", "loader", "cifar", "objectives")
    gpu.main(["--parts", ",".join(parts), "--records", str(tmp_path), "--least", "1"])
    (folder,) = tmp_path.glob("*_gpu")
    results = json.loads((folder / "gpu.json").read_text())
    assert list(results) == list(parts)
    assert [results[name]["line"] for name in ("matmul", "objectives")] == [
        "matmul 7",
        "objectives 7",
    ]
    assert results["fsdp"]["failed"] == "exit code 1: boom"
    assert results["loader"]["failed"] == "stopped after 2 s"
    assert results["cifar"]["skipped"].startswith("needs --cifar")
    text = (folder / "README.md").read_text()
    for name in parts:
        assert f"- **{name}**: " in text
    assert "record: " in capsys.readouterr().out


def test_parts_that_the_minutes_do_not_reach_are_named(tmp_path):
    gpu.main(["--parts", "matmul", "--minutes", "0", "--records", str(tmp_path)])
    (record,) = tmp_path.glob("*_gpu/gpu.json")
    assert json.loads(record.read_text()) == {"matmul": {"skipped": "0 s were left"}}


def test_each_script_is_run_here():
    calls = {
        node.args[0].value
        for node in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "measured"
    }
    assert {f"{name}.py" for name in calls} == {*SCRIPTS}


def test_each_script_has_a_row_and_each_row_a_script():
    assert {*ROWS} == {*table.COMMANDS}
    assert {command.split()[0] for command in ROWS} == {*SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_names_the_sources_that_it_imports(script):
    sources = table.sources_of(script)
    for name in sources:
        assert (ROOT / name).exists(), f"{script}: {name} is gone"
    for node in ast.walk(ast.parse((table.HERE / script).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vit."):
            path = "src/" + node.module.replace(".", "/")
            near = any(path.startswith(name) or name.startswith(path) for name in sources)
            assert near, f"{script}: SOURCES lacks {path}"


@pytest.fixture
def one_script(tmp_path, monkeypatch) -> Path:
    """A folder with one benchmark and one source, which table.py takes for the project's."""
    here = tmp_path / "tests"
    here.mkdir()
    line = json.dumps({"claim": "fast", "measured": "ratio 2"})
    (here / "speed.py").write_text(f'SOURCES = ("source.py",)\nprint({line!r})\n')
    (here / "README.md").write_text("# Head\n\n| command | old |\n")
    (tmp_path / "source.py").write_text('"""Old."""\nvalue = 1\n')
    monkeypatch.setattr(table, "ROOT", tmp_path)
    monkeypatch.setattr(table, "HERE", here)
    monkeypatch.setattr(table, "README", here / "README.md")
    monkeypatch.setattr(table, "COMMANDS", ("speed.py",))
    return tmp_path


def toy_row(before: table.Row | None = None, ratio: int = 2) -> table.Row:
    figure = {"claim": "fast", "measured": f"ratio {ratio}"}
    return table.renewed(before, "speed.py", figure, table.hash_of("speed.py"), "a toy")


def test_a_row_is_stale_when_what_it_measures_changed_or_is_gone(one_script):
    assert table.stale({}) == {"speed.py": "no row yet"}
    rows = {"speed.py": toy_row()}
    assert table.stale(rows) == {}
    source = one_script / "source.py"
    source.write_text('"""New words."""\nvalue  =  1  # a comment\n')
    assert table.stale(rows) == {}
    source.write_text("value = 2\n")
    assert "sources changed since" in table.stale(rows)["speed.py"]
    source.unlink()
    assert "source.py is gone" in table.stale(rows)["speed.py"]


def test_rows_without_a_script_and_scripts_without_a_row_are_listed(one_script):
    (one_script / "tests" / "new.py").touch()
    reasons = table.stale({"speed.py": toy_row(), "old.py": toy_row()})
    assert reasons.keys() == {"new.py", "old.py"}


def test_earlier_figures_stay_beside_the_new_one(one_script):
    second = toy_row(before=toy_row(), ratio=3)
    third = toy_row(before=second)
    assert second.earlier.endswith(": ratio 2")
    assert re.findall(r"ratio \d", third.earlier) == ["ratio 2", "ratio 3"]
    text = table.write_table(table.README.read_text(), {"speed.py": third})
    assert table.read_table(text) == {"speed.py": third}


def test_a_run_writes_its_row_and_nothing_is_stale_then(one_script, capsys):
    for argv in (["--stale"], ["speed", "--hardware", "a toy"], ["--stale"]):
        table.main(argv)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "speed.py: no row yet"
    assert printed[-1] == "none is stale"
    assert table.read_table(table.README.read_text()) == {"speed.py": toy_row()}
    with pytest.raises(SystemExit, match="no benchmark is called sped"):
        table.main(["sped"])

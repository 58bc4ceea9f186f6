"""Every place that takes in bytes from outside stands in SECURITY.md, with what guards it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "vit"
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "ctypes", "subprocess"}
WHOLE = {  # by their whole name
    "torch.load", "np.load", "np.fromfile", "np.memmap", "np.genfromtxt", "np.loadtxt",
    "json.load", "json.loads", "gzip.open", "gzip.decompress", "zlib.decompress", "Image.open",
    "h5py.File", "tarfile.open", "zipfile.ZipFile", "csv.reader", "csv.DictReader", "os.pread",
    "subprocess.run", "subprocess.Popen", "os.system", "eval", "exec", "compile", "__import__",
    "open", "mmap.mmap", "runpy.run_path", "torch.jit.load", "torch.hub.load",
}  # fmt: skip
LAST = {  # whatever stands before
    "load_state_dict_from_url", "safe_load", "unsafe_load", "full_load", "load_all",
    "import_module", "find_spec", "loadmat", "extractall", "urlopen", "decode_jpeg", "read_bytes",
    "read_text", "urlretrieve", "get_state_dict", "load_module", "snapshot_download",
    "download_url_to_file",
}  # fmt: skip


def watched(file: Path) -> set[str]:  # noqa: C901  one look at each kind of node
    """What a file does of it."""
    found, nodes = set(), list(ast.walk(ast.parse(file.read_text())))
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            found |= {f"import {name}" for name in names & MODULES}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.add(f"import {node.module.split('.')[0]}")
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last = name.rpartition(".")[2]
            if name in WHOLE:
                found |= set() if writes(node) else {name}
            elif last in LAST or re.fullmatch(r"yaml\.\w*load\w*", name):
                found.add(last)
            elif name == "getattr" and not isinstance(node.args[1], ast.Constant):
                found.add("getattr")
            elif last == "open" and not name.startswith("os.") and not writes(node):
                found |= {"open"} if not node.args or modes(node) else set()  # a path's
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in WHOLE:
            found |= {ast.unparse(node)} - called
    return found


def modes(node: ast.Call) -> list[str]:
    """What looks like the mode of a file among its arguments."""
    given = [*node.args, *(key.value for key in node.keywords)]
    texts = [arg.value for arg in given if isinstance(arg, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and re.fullmatch(r"[rwxabt+]+", text)]


def writes(node: ast.Call) -> bool:
    """Does it open for writing, as far as its mode tells?"""
    return any(set(mode) & set("wxa") for mode in modes(node))


def listed() -> dict[str, set[str]]:
    """The rows of SECURITY.md's table: a file, and in its second column calls in backquotes."""
    found = {}
    for line in (ROOT / "SECURITY.md").read_text().splitlines():
        row = re.fullmatch(r"\| `([\w/]+\.py)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", line)
        if row:
            assert row[1] not in found, f"{row[1]} twice"
            found[row[1]] = set(re.findall(r"`([^`]+)`", row[2]))
    return found


FILES = [str(file.relative_to(SOURCE)) for file in sorted(SOURCE.rglob("*.py"))]


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_takes_in_stands_in_the_list(name):
    assert watched(SOURCE / name) == listed().get(name, set())


def test_the_list_names_no_file_that_is_gone():
    assert set(listed()) <= set(FILES)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import pickle", "import pickle"),
        ("from pickle import loads", "import pickle"),
        ("torch.load(p)", "torch.load"),
        ("np.load(p)", "np.load"),
        ("yaml.load(t)", "load"),
        ("yaml.safe_load(t)", "safe_load"),
        ("importlib.import_module(n)", "import_module"),
        ("getattr(m, n)", "getattr"),
        ("exec(t)", "exec"),
        ("Path(p).open('rb')", "open"),
        ("p.read_bytes()", "read_bytes"),
    ],
)
def test_a_planted_load_would_be_noticed(tmp_path, line, name):
    (tmp_path / "a.py").write_text(f"import torch\n{line}\n")
    assert watched(tmp_path / "a.py") == {name}


def test_what_is_constant_or_written_is_no_load(tmp_path):
    (tmp_path / "a.py").write_text("getattr(m, 'name', 1)\nPath(p).open('w')\np.write_text(t)\n")
    assert not watched(tmp_path / "a.py")


def test_numpy_s_pickles_are_shut_in_so_many_words():
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
                given = {key.arg: ast.unparse(key.value) for key in node.keywords}
                assert given.get("allow_pickle") == "False", file
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                given = {key.arg: ast.unparse(key.value) for key in node.keywords}
                assert given.get("weights_only") == "True", file

"""The law of the house: imports point down, files stay small, every file has its test."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "vit"
TESTS = Path(__file__).parent
FLOORS = [
    {
        "batch",
        "classification",
        "patches",
        "masking",
        "mixing",
        "muon",
        "randomness",
        "ranks",
        "yaml_text",
        "precision",
        "self_distillation",
        "orphans",
        "whole_files",
    },
    {"models", "data"},
    {"objectives", "optim", "evaluate", "insight", "flops", "finite"},
    {"module", "callbacks", "lightning_seams", "compare", "export"},
    {"cli"},
]
FLOOR = {room: height for height, floor in enumerate(FLOORS) for room in floor}
SAME_FLOOR = {  # who may lean on a neighbour, and no circle among them
    "batch": {"randomness"},
    "masking": {"randomness"},
    "mixing": {"randomness"},
    "self_distillation": {"precision", "ranks"},
    "optim": {"objectives"},
    "flops": {"objectives"},
    "finite": {"objectives"},
    "module": {"lightning_seams"},
    "callbacks": {"lightning_seams", "module"},
    "compare": {"callbacks", "module"},
}
FILES = sorted(ROOT.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    """Modules of vit this file names in an import that runs."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names += (
                [node.module] if node.module != "vit" else [f"vit.{a.name}" for a in node.names]
            )
        found |= {name for name in names if name.startswith("vit.")}
    return found


def checked_only_for_types(file: Path) -> set[str]:
    """Imports below `if TYPE_CHECKING:`, which never run."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom) and inner.module:
                    found.add(inner.module)
    return found


def upward(file: Path, names: set[str]) -> set[str]:
    room = room_of(file)
    rooms = {name.split(".")[1] for name in names} - {room}
    return {other for other in rooms - SAME_FLOOR.get(room, set()) if FLOOR[other] >= FLOOR[room]}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_only_point_downwards(file):
    if room_of(file) == "__init__":
        return
    bad = upward(file, imports(file) - checked_only_for_types(file))
    assert not bad, f"{file.name} ({room_of(file)}) must not import {sorted(bad)}"


def test_a_planted_import_would_be_noticed():
    assert upward(ROOT / "models" / "vit.py", {"vit.objectives.base"}) == {"objectives"}


def test_objectives_know_no_sibling_and_no_data():
    for file in (ROOT / "objectives").glob("*.py"):
        for name in imports(file):
            inside = name.startswith("vit.objectives.") and name != "vit.objectives.base"
            assert not inside, f"{file.name} imports its sibling {name}"
            assert not name.startswith("vit.data"), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_files_and_functions_stay_within_their_budgets(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 300, "a second idea wants a second file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0].end_lineno if ast.get_docstring(node) else node.body[0].lineno
            limit = 50 if node.name == "__init__" else 40  # constructors list their settings
            length = node.end_lineno - first
            assert length <= limit, f"{node.name} has {length} lines"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_no_file_is_called_for_what_it_is_not(file):
    for part in file.relative_to(ROOT).parts:
        assert part.removesuffix(".py") not in {"utils", "helpers", "common", "misc"}
    assert ast.get_docstring(ast.parse(file.read_text())), f"{file} does not say what it is for"


def test_every_top_level_package_is_a_core_dependency():
    allowed = {
        "vit",
        "torch",
        "torchvision",
        "torchmetrics",
        "lightning",
        "jsonargparse",
        "jaxtyping",
        "sklearn",
        "scipy",
        "yaml",
        "numpy",
        "PIL",
        "rich",
        "matplotlib",
    }
    extras = {"simplejpeg", "h5py"}  # inside the function that says which extra it wants
    import sys

    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            for name in names:
                top = name.split(".")[0]
                known = allowed | set(sys.stdlib_module_names)
                known |= extras if node.col_offset else set()
                assert top in known, f"{file.name} imports {name}"

"""The law of the house: imports point down, files stay small, every file has its test."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "vit"
TESTS = Path(__file__).parent
FLOORS = [
    {
        "batch", "collectives", "digest", "ema", "metrics", "orphans", "patches", "precision",
        "randomness", "whole_files", "yaml_text",
    },
    {"models", "published"},
    {"data", "objectives"},
    {"evaluate", "finite", "flops", "freed_memory", "insight", "optim"},
    {
        "callbacks", "compare", "export", "lightning_workarounds", "module", "parser_workarounds",
        "prepare", "report", "sharding",
    },
    {"cli", "exported", "loading"},
]  # fmt: skip
FLOOR = {room: height for height, floor in enumerate(FLOORS) for room in floor}
SAME_FLOOR = {  # who may lean on a neighbour, and no circle among their files
    "batch": {"randomness"},
    "metrics": {"collectives"},
    "module": {"lightning_workarounds", "sharding"},
    "callbacks": {"lightning_workarounds", "module"},
    "compare": {"callbacks", "module"},
    "export": {"callbacks"},
    "loading": {"cli", "exported"},  # what stored settings may name
    "cli": {"loading"},  # predict on loose pictures
}
FILES = sorted(ROOT.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = ("vit", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def room_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    """Modules of vit that this file names in an import, those for types alone too."""
    named = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                named.add(whole if whole in MODULES else node.module)
    return {name for name in named if name.startswith("vit.")}


def upward(file: Path, names: set[str]) -> set[str]:
    room = room_of(file)
    rooms = {name.split(".")[1] for name in names} - {room}
    return {other for other in rooms - SAME_FLOOR.get(room, set()) if FLOOR[other] >= FLOOR[room]}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_only_point_downwards(file):
    if room_of(file) == "__init__":
        return
    bad = upward(file, imports(file))
    assert not bad, f"{file.name} ({room_of(file)}) must not import {sorted(bad)}"


def test_a_planted_import_would_be_noticed():
    assert upward(ROOT / "models" / "vit.py", {"vit.objectives.base"}) == {"objectives"}


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty where there is none."""
    left = {name: others & graph.keys() - {name} for name, others in graph.items()}
    while left:
        free = {name for name, others in left.items() if not others & left.keys()}
        if not free:
            return sorted(left)
        left = {name: others for name, others in left.items() if name not in free}
    return []


def test_no_file_imports_itself_by_a_detour():
    assert circle_in({name: imports(file) for name, file in MODULES.items()}) == []


def test_a_planted_circle_would_be_noticed():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_objectives_know_no_sibling_and_no_data():
    for file in (ROOT / "objectives").rglob("*.py"):
        for name in imports(file):
            inside = name.startswith("vit.objectives.") and name != "vit.objectives.base"
            shared = name.startswith("vit.objectives.parts.")
            assert shared or not inside, f"{file.name} imports its sibling {name}"
            assert not name.startswith("vit.data"), f"{file.name} imports {name}"


LONGER = {  # one idea that takes more
    "module.py": 385,  # a fit from its first hook to its last, and 30 lines that list them
}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_files_and_functions_stay_within_their_budgets(file):
    text = file.read_text()
    most = LONGER.get(str(file.relative_to(ROOT)), 300)
    assert len(text.splitlines()) <= most, "a second idea needs a second file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0].end_lineno if ast.get_docstring(node) else node.body[0].lineno
            limit = 50 if node.name == "__init__" else 40  # constructors list their settings
            length = node.end_lineno - first
            assert length <= limit, f"{node.name} has {length} lines"


MOST_ARGUMENTS = 8  # beside self
MORE_ARGUMENTS = {  # settings of a whole component, which YAML shows as one flat list
    "models/vit.py ViT.__init__",  # an architecture's published settings, stored in checkpoints
    "module.py ViTModule.__init__",  # the keys of `model:`
    "data/base.py Images.__init__",  # the keys of `data:` that all data sets share
}


def crowded(tree: ast.Module, above: str = "") -> list[str]:
    """Functions with too many arguments, by their names inside of their classes."""
    names = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            count = len([argument for argument in given if argument.arg not in ("self", "cls")])
            names += [above + node.name] * (count > MOST_ARGUMENTS)
        named = getattr(node, "name", None)
        names += crowded(node, f"{above}{named}." if named else above)
    return names


def test_no_function_takes_more_than_eight_arguments():
    beyond = {
        f"{file.relative_to(ROOT).as_posix()} {name}"
        for file in FILES
        for name in crowded(ast.parse(file.read_text()))
    }
    assert beyond == MORE_ARGUMENTS, "put settings that belong together into a dataclass"


def test_a_planted_argument_would_be_noticed():
    many = ", ".join(f"a{number}" for number in range(9))
    planted = f"class A:\n def f(self, {many}): ...\n def g(self, {many[:-4]}): ..."
    assert crowded(ast.parse(planted)) == ["A.f"]


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
    extras = {  # inside the function that needs it
        "simplejpeg", "h5py", "timm", "transformers", "huggingface_hub", "safetensors", "onnx",
        "onnxruntime", "onnxscript",
    }  # fmt: skip
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

"""The words of the house: where the field has a word, no other stands for it."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "src" / "vit").rglob("*.py"))
INSTEAD = {  # an identifier that is not used, and what to say
    "Asked": "DryRun",
    "Draw": "BatchIndices",
    "Guard": "CollapseMonitor",
    "LastStep": "ValidateLastStep",
    "Mistakes": "ConfusionMatrix",
    "Tally": "EvalMetrics",
    "Teacher": "EMA, for an average of weights",
    "black": "dummy_batch",
    "complaint": "collapse_message",
    "foretold": "explained",
    "found": "a name of what was found",
    "hidden": "mask_ratio, hidden_width or is_matrix; a mask is called mask",
    "judged": "eval_objective, evaluation_loader or has_labels",
    "luck": "uniforms",
    "own": "apply_exif_and_alpha, or what it belongs to",
    "seams": "workarounds",
    "share": "fraction",
    "shares": "fractions",
    "tally": "eval_metrics",
    "turn": "repeat",
    "turns": "repeats",
    "undecided": "collapse_message",
    "variety": "marginal_entropy",
    "words": "argv",
}
KEYS = {"hidden", "frozen", "share", "val_share", "test_share", "crop", "part", "centre"}
CLASSES = {"Correct", "Bar", "Place", "Step", "Part"}


def identifiers(file: Path) -> set[str]:
    """Names, attributes, arguments and keywords of a file; strings and comments are prose."""
    tokens = tokenize.generate_tokens(io.StringIO(file.read_text()).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def definitions(file: Path) -> list[ast.AST]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in ast.parse(file.read_text()).body if isinstance(node, kinds)]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT / "src" / "vit")))
def test_a_standard_word_is_used_where_there_is_one(file):
    used = identifiers(file) & INSTEAD.keys()
    assert not used, "; ".join(f"{word}: say {INSTEAD[word]}" for word in sorted(used))
    classes = {node.name for node in definitions(file) if isinstance(node, ast.ClassDef)}
    assert not classes & CLASSES, classes & CLASSES


def test_a_planted_word_would_be_noticed(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text('found = judge(luck=1)  # "share" in a comment is prose\n')
    assert identifiers(planted) & INSTEAD.keys() == {"found", "luck"}


def test_a_name_means_one_thing_in_all_files():
    homes = defaultdict(list)
    for file in FILES:
        for node in definitions(file):
            if not node.name.startswith("__"):  # a module's own hooks, such as __getattr__
                homes[node.name].append(str(file.relative_to(ROOT / "src" / "vit")))
    several = {name: files for name, files in homes.items() if len(files) > 1}
    assert not several


def keys_of(content: object) -> set[str]:
    if isinstance(content, dict):
        inside = set().union(*map(keys_of, content.values())) if content else set()
        return {str(key).rpartition(".")[2] for key in content} | inside
    if isinstance(content, list):
        return set().union(*map(keys_of, content)) if content else set()
    return set()


@pytest.mark.parametrize(
    "file", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda f: str(f.relative_to(ROOT))
)
def test_no_config_has_an_old_key(file):
    assert not keys_of(yaml.safe_load(file.read_text())) & KEYS


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT / "src" / "vit")))
def test_a_docstring_is_a_sentence_or_names_a_thing(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
            first = (ast.get_docstring(node) or "").split("\n")[0]
            assert not re.match(r"(Of|As for|For) ", first), f"{first!r} has no subject"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT / "src" / "vit")))
def test_a_message_says_needs(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    assert not re.search(r"\bwants?\b", part.value), part.value

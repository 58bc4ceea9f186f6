"""data/README.md is made from the headers of configs/data.

`python tests/contract/test_data_readme.py` writes it.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "data/README.md"
FIRST = """\
# data

Images go here; git ignores them. Made from the headers of `configs/data/*.yaml`; what each holds is
counted by `python train.py prepare --data configs/data/<name>.yaml`, read through by `--check`, and
drawn by `--show`.
"""


def header(file: Path) -> str:
    """The comment that a config begins with, as a paragraph."""
    lines = []
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def page() -> str:
    parts = [FIRST]
    for file in sorted((ROOT / "configs/data").glob("*.yaml")):
        parts.append(f"## `{file.relative_to(ROOT)}`\n\n{header(file)}\n")
    return "\n".join(parts)


def test_the_readme_is_what_the_configs_say():
    assert FILE.read_text() == page()


def test_every_config_says_what_and_where_from():
    for file in sorted((ROOT / "configs/data").glob("*.yaml")):
        text = header(file)
        assert re.search(r"licence|CC BY|research use", text, re.IGNORECASE), file
        assert re.search(r"plits|same|of its 19 tasks|tested", text), file


if __name__ == "__main__":
    FILE.write_text(page())

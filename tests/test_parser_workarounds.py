"""Each place where we go round jsonargparse still needs it, and still works."""

from jsonargparse import ArgumentParser

from vit import parser_workarounds


class Base:
    """A family."""


class First(Base):
    """One member.

    Args:
        width: shared name.
    """

    def __init__(self, width: int = 1) -> None:
        self.width = width


class Second(Base):
    """Another member.

    Args:
        width: shared name.
    """

    def __init__(self, width: int = 8) -> None:
        self.width = width


def swapped_width() -> int:
    parser = ArgumentParser()
    parser.add_argument("--part", type=Base)
    parser.add_argument("--config", action="config")
    parsed = parser.parse_args([
        f"--part={__name__}.First", "--part.width=32", f"--part={__name__}.Second",
    ])  # fmt: skip
    return parsed.part.init_args.width


def test_a_later_class_starts_from_its_own_defaults(monkeypatch):
    monkeypatch.setattr(
        parser_workarounds.typehints, "discard_init_args_on_class_path_change",
        parser_workarounds.typehints.discard_init_args_on_class_path_change,
    )  # fmt: skip
    assert swapped_width() == 32, "upstream mended it: drop forget_other_class_arguments"
    parser_workarounds.forget_other_class_arguments()
    assert swapped_width() == 8


def test_the_parser_is_there_without_lightning():
    import subprocess
    import sys

    code = "import sys, vit.parser_workarounds; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

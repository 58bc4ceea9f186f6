"""Every private or surprising place of jsonargparse that we touch, in one file; without Lightning.

Each entry names its upstream issue where there is one; each has a test.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jsonargparse._common as parsing
import jsonargparse._typehints as typehints
import yaml
from jsonargparse import get_loader, set_loader

from vit.yaml_text import count

LONG = 10_000  # letters of YAML that may nest too deep for its parser


def forget_other_class_arguments() -> None:
    """A later class_path that differs drops every earlier init_arg.

    jsonargparse keeps those whose name the new class shares, so that an arm of a comparison would
    inherit the settings of the one it replaces (mauvilsa/jsonargparse#374).
    """

    def discard(parser_or_action: Any, previous: Any, value: Any) -> None:
        if previous and "init_args" in previous and previous["class_path"] != value["class_path"]:
            previous["init_args"] = type(previous["init_args"])()

    typehints.discard_init_args_on_class_path_change = discard


def bound_yaml() -> None:
    """The parser's YAML within bounds too: a kilobyte must not stand for a billion values.

    It also reads single values so, many times a start; what is short and has no alias is left out.
    """
    plain = get_loader("yaml")
    if plain.__module__ == __name__:
        return

    def bounded(text: str) -> Any:
        if "*" in text or len(text) > LONG:
            try:
                count(text, "YAML")
            except ValueError as error:
                raise yaml.YAMLError(str(error)) from error
        return plain(text)

    set_loader("yaml", bounded, (yaml.YAMLError,))


@contextlib.contextmanager
def importing(only: list[str] | None) -> Iterator[None]:
    """What a parser may import and build: these names, or all but what runs commands.

    jsonargparse warns of paths such as subprocess.Popen and imports them, until a list of ours is
    set; and where an argument takes anything, it builds whatever class stands there. Its settings
    are global, so they are put back.
    """
    before = dict(parsing.parsing_settings)
    try:
        parsing.set_parsing_settings(
            import_path_denylist=[] if only is None else ["*"],
            import_path_allowlist=only or [],
            instantiate_subclass_spec_in_any=False,
        )
        yield
    finally:
        parsing.parsing_settings.update(before)

"""YAML that anybody may have written: read as safe_load reads it, within bounds, or one line.

A few hundred bytes of nested aliases stand for billions of values, which whoever walks, copies or
prints them meets one by one; and the C parser crashes on a hundred thousand open brackets. So the
values are counted first, on the parser's events: each once, an alias as what it stands for.
"""

from collections.abc import Iterator
from typing import Any

import yaml

LARGEST, DEEPEST = 100_000, 100  # values after aliases; our largest recorded config has 200
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str, where: str) -> Any:
    """What yaml.safe_load makes of a text.

    Args:
        text: of one document.
        where: its file, for messages.

    Raises:
        ValueError: it is not YAML, or stands for too much.
    """
    count(text, where)
    try:
        return yaml.load(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise ValueError(parser_message(error, text, where)) from error
    except (ValueError, LookupError, AttributeError) as error:  # as !!int '' or 2024-13-45
        raise ValueError(f"{where}: not YAML: a value does not fit its type ({error})") from error


def count(text: str, where: str) -> int:
    """How many values a text stands for, aliases followed.

    Raises:
        ValueError: more than LARGEST or deeper than DEEPEST, or an alias inside what it names, or
            no YAML.
    """
    sizes: dict[str | None, int | None] = {}  # by anchor; None while it is open
    above: list[tuple[str | None, int]] = []  # open lists and maps: anchor, values before it
    total = 0
    for event in events(text, where):
        if isinstance(event, yaml.AliasEvent):
            total += alias_size(event, sizes, where)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            above.append((event.anchor, total))
            total += 1
            sizes[event.anchor] = None
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = above.pop()
            sizes[anchor] = total - before
        if total > LARGEST:
            raise ValueError(f"{where}: more than {LARGEST:,} values; write fewer, or shorter")
        if len(above) > DEEPEST:
            raise ValueError(f"{position(event, where)}: not YAML: more than {DEEPEST} levels")
    return total


def events(text: str, where: str) -> Iterator[yaml.Event]:
    """What the parser sees, one after the other; nothing is built, so nothing grows."""
    try:
        yield from yaml.parse(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise ValueError(parser_message(error, text, where)) from error
    except UnicodeEncodeError as error:  # half a character, as a command line may hold
        raise ValueError(f"{where}: not YAML: a letter is not UTF-8") from error


def alias_size(alias: yaml.AliasEvent, sizes: dict[str | None, int | None], where: str) -> int:
    """The size of what an alias names; 1 where nothing does, which the parser will say."""
    size = sizes.get(alias.anchor, 1)
    if size is None:
        raise ValueError(
            f"{position(alias, where)}: not YAML: alias {alias.anchor} stands inside itself"
        )
    return size


def position(event: yaml.Event, where: str) -> str:
    """File, line and column, from 1."""
    return f"{where}, line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"


def parser_message(error: yaml.YAMLError, text: str, where: str) -> str:
    """What the parser says is wrong, in one line."""
    mark = getattr(error, "problem_mark", None)
    if mark:
        where = f"{where}, line {mark.line + 1}, column {mark.column + 1}"
    elif hasattr(error, "position"):  # a character that no YAML holds
        where = f"{where}, line {text.count(chr(10), 0, error.position) + 1}"
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    return f"{where}: not YAML: {' '.join(str(problem).split())}"

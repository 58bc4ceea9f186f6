"""The command line. This file knows the verbs and loads nothing else, so that help is immediate."""

import difflib
import gc
import sys

from vit.cli.errors import UsageError
from vit.cli.help import VERBS, help_of, overview
from vit.cli.once import complain, launch_id
from vit.cli.paths import check_paths
from vit.cli.predict import asks_for_images, predict_images


def main(argv: list[str]) -> int:
    """Run one verb; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    if not argv or argv[0] in ("-h", "--help"):
        print(overview(), end="")
        return 0
    verb, rest = argv[0], argv[1:]
    if verb.startswith("-"):
        return _usage(f"the verb comes first: python train.py fit {' '.join(argv)}")
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, 1)
        return _usage(
            f"unknown verb {verb!r}; "
            + (f"did you mean {close[0]}?" if close else f"known: {', '.join(VERBS)}")
        )
    if {"-h", "--help"} & set(rest):
        print(help_of(verb), end="")
        return 0
    if verb == "predict" and asks_for_images(rest):
        return predict_images(rest)
    gc.disable()  # loading makes many objects and no garbage: a fifth of the start-up time
    try:
        check_paths(verb, rest)
        from vit.cli.verbs import run  # torch and Lightning load here
    except UsageError as error:
        complain(f"error: {error}", launch_id())
        return 2
    except KeyboardInterrupt:
        print("interrupted before the start", file=sys.stderr)
        return 130
    finally:
        gc.enable()
    gc.freeze()
    try:
        return run(verb, rest, main)
    finally:
        gc.unfreeze()  # else libraries complain at the end of objects that nobody freed


def _usage(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2

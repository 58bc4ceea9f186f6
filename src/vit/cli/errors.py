"""Mistakes and failures, each in one line for people: where it stands, what it was, what to do."""

import errno
import re

# lines of jsonargparse's nested reports that say nothing beyond the others
NOISE = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Expected a <class 'NoneType'>",
)

PLAINLY = (
    (r'^Parser key "config": ', ""),
    (r'Parser key "([\w.]+)": ', r"\1: "),
    (r"Type collections\.abc\.Callable\S+.*?callable class: ", ""),
    (r"\.? Got value: Namespace\(.*", ""),
    (r"\. Got value: \S+", ""),
    (r"(, got [^,]*?) Not a valid subclass of .*", r"\1"),
    (
        r"Importing '((\w+)[\w.]*)' is not allowed, denied by the '\*'.*",
        r"\1 is not imported for stored settings; if you know that package: --trust \2",
    ),
    (
        r"Importing '([\w.]+)' is not allowed.*",
        r"\1 could run commands or touch files; no setting may name it",
    ),
    (r"[Ee]xpected an? <class '([\w.]+)'>", r"expected \1"),
    (r"[Ee]xpected a typing\.Literal\[(.*?)\]", r"or \1"),
)
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
TELLING = re.compile(r"not accept|unrecognized|does not exist|has no attribute|No module named")


class UsageError(Exception):
    """The command line asks for something that cannot be; exit code 2."""


class Failure(Exception):
    """A run that cannot go on, in words for people; exit code 1."""


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks."""
    text = " ".join(condense(str(error)).split())
    lacking = re.search(r"tried to allocate ([\d.]+ ?\w+)", text)
    if lacking or isinstance(error, MemoryError):
        amount = f" (it asked for {lacking[1]} more)" if lacking else ""
        return f"memory: this does not fit{amount}; take a smaller model, image or batch"
    if isinstance(error, OSError) and error.strerror:
        return disk(error)[:300]
    if text and (isinstance(error, (ValueError, FileNotFoundError)) or misconfigured(error)):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def misconfigured(error: BaseException) -> bool:
    """Is it Lightning's word for wrong settings? By its name: Lightning takes seconds to load."""
    return type(error).__name__ == "MisconfigurationException"


def misfit(error: BaseException) -> str:
    """Weights that do not fit the settings beside them, in one line; else nothing."""
    if not (isinstance(error, RuntimeError) and "loading state_dict" in str(error)):
        return ""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"checkpoint: its weights do not fit its own settings ({lines[-1][:200]})"


def disk(error: OSError) -> str:
    """What a disk, or a folder that is not ours, would not do."""
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def condense(message: str) -> str:
    """jsonargparse's report without its nesting."""
    lines = [line.strip(" -") for line in message.splitlines()]
    kept = [line for line in lines if line and not line.startswith(NOISE)]
    telling = [line for line in kept if TELLING.search(line)]
    line = " ".join(dict.fromkeys(telling or kept))
    for pattern, plain in PLAINLY:
        line = re.sub(pattern, plain, line)
    given = re.search(r"Given value: (.*)", message)
    simple = given and not telling and not given[1].startswith("Namespace")
    if line.startswith("the following arguments are required"):
        line += "; start from a file: --config configs/quickstart.yaml"
    return f"{line}, got {given[1]}" if simple else line

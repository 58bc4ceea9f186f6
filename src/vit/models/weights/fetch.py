"""Released weights by name: out of the cache of the library that publishes them, or fetched by it.

`timm:vit_small_patch16_224.augreg_in21k` and `hf:facebook/dinov2-small` lie in Hugging Face's
cache, `torchvision:vit_b_16` in torch's. A library only brings the file; it is read here like any
other.
"""

import os
import re
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from vit.models.weights.opening import weights_in

LIBRARIES = ("timm", "hf", "torchvision")
REPOSITORY = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w.-]*))?")
WANTED = (
    "config.json",
    "preprocessor_config.json",
    "model*.safetensors",
    "*.safetensors.index.json",
)
SECONDS = 3  # until a host counts as out of reach; a resolver alone may take minutes


def is_published_name(path: str | Path) -> bool:
    """Does it name weights by the library that has them?"""
    return str(path).partition(":")[0] in LIBRARIES


def weights_by_name(name: str) -> Path:
    """The file or folder of weights that a name means.

    Args:
        name: library, colon, and the name there; `hf:` also takes `@revision`.

    Raises:
        ValueError: there is no such name; or it is not here and cannot be fetched: the line says
            which file to put where.
    """
    library, _, rest = name.replace("\\", "/").partition(":")  # a path of Windows turns them
    if library == "torchvision":
        return torchvision_file(name, rest)
    if library == "timm":
        rest = f"timm/{with_tag(name, rest)}"
    match = REPOSITORY.fullmatch(rest)
    if match is None:
        raise ValueError(f"weights: {name} is no name; as in hf:facebook/dinov2-small")
    home = hub_cache() / f"models--{match[1].replace('/', '--')}"
    return snapshot_in(home, match[2]) or from_hub(name, match[1], match[2], home)


def hub_cache() -> Path:
    """Where Hugging Face's libraries keep what they fetched, by the variables that they read."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(os.path.expandvars(given)).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def snapshot_in(home: Path, revision: str | None) -> Path | None:
    """The folder of a revision that the cache holds with its weights; None where it does not."""
    named = home / "refs" / (revision or "main")
    version = named.read_text().strip() if named.is_file() else (revision or "main")
    folder = home / "snapshots" / Path(version).name
    return folder if folder.is_dir() and weights_in(folder) else None


def from_hub(name: str, repository: str, revision: str | None, home: Path) -> Path:
    """Fetch a repository's weights into the cache; safetensors where it has them.

    Raises:
        ValueError: it cannot be reached, or has none.
    """
    place = home / "snapshots" / (revision or "main")
    remedy = f"put its model.safetensors and config.json into {place}, or give the path of a file"
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ValueError(
            f'weights: {name} is not on this machine; pip install -e ".[released]" to fetch it, or '
            f"{remedy}"
        ) from error
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or ""
    check_reachable(name, host, remedy)
    for wanted in (WANTED, (*WANTED[:2], "pytorch_model*.bin*")):
        try:
            folder = Path(
                snapshot_download(
                    repository,
                    revision=revision,
                    cache_dir=home.parent,
                    allow_patterns=list(wanted),
                )
            )
        except (OSError, ValueError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                f"weights: {name} cannot be fetched ({lines[0][:120]}); {remedy}"
            ) from error
        if weights_in(folder):
            return folder
    raise ValueError(f"weights: {name} has neither model.safetensors nor pytorch_model.bin")


def with_tag(name: str, rest: str) -> str:
    """timm's name with its tag, without which timm's default is meant.

    Raises:
        ValueError: there is no tag and timm, which knows the default, is not installed; or timm
            does not know the name.
    """
    if "." in rest:
        return rest
    try:
        from timm.models import get_pretrained_cfg
    except ImportError as error:
        raise ValueError(f"weights: {name} needs its tag, as in {name}.augreg_in21k") from error
    about = get_pretrained_cfg(rest)
    if about is None or not about.tag:
        raise ValueError(f"weights: {name} is no name of pre-trained weights in timm")
    return f"{rest}.{about.tag}"


def torchvision_file(name: str, rest: str) -> Path:
    """The file of one of torchvision's Vision Transformers, as torch's hub keeps it.

    Raises:
        ValueError: there is no such name, or it cannot be fetched.
    """
    from torchvision.models import get_model_weights

    model, _, version = rest.partition(".")
    try:
        kinds = get_model_weights(model)
        weights = kinds[version] if version else kinds.DEFAULT
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"weights: {name} is no name of weights in torchvision; as in torchvision:vit_b_16 or "
            "torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1"
        ) from error
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if file.is_file():
        return file
    remedy = f"put {weights.url} at {file}"
    check_reachable(name, urlsplit(weights.url).hostname or "", remedy)
    begin = re.search(r"-([0-9a-f]{8,})\.pth$", file.name)  # of the file's sha256
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(weights.url, str(file), begin and begin[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"weights: {name} cannot be fetched ({error}); {remedy}") from error
    return file


def check_reachable(name: str, host: str, remedy: str) -> None:
    """Refuse within seconds what would wait for a network that is not there.

    Raises:
        ValueError: the host does not answer, or the user has said that there is no network.
    """
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    answered = threading.Event()

    def ask() -> None:
        try:
            socket.create_connection((host, 443), SECONDS).close()
            answered.set()
        except OSError:
            pass

    if not offline and not getproxies().get("https"):  # a proxy resolves the host itself
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(SECONDS)
    elif not offline:
        answered.set()
    if not answered.is_set():
        raise ValueError(
            f"weights: {name} is not on this machine and {host} cannot be reached; {remedy}"
        )

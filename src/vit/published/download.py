"""Get a file once: resumed where it stopped, checked by its md5, in place only when whole."""

import hashlib
import tarfile
import urllib.error
import urllib.request
import zipfile
from http.client import HTTPException
from pathlib import Path

CHUNK = 1 << 20  # bytes


def fetch(url: str, target: Path, md5: str, timeout: float = 20.0) -> None:
    """Download url to target, or go on with target.part.

    Raises:
        FileNotFoundError: the server cannot be reached; says which file to put where by hand.
        ValueError: what came is not the file it should be.
    """
    # not by whole_files.replacing, which removes what is unfinished: the next call goes on from it
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
        # 206: the rest; 200: the server begins anew, so do we
        with answer, part.open("ab" if answer.status == 206 else "wb") as file:
            missing = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                missing -= len(chunk)
        if missing > 0:
            raise ConnectionError("the connection ended early; the same command goes on")
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        if getattr(error, "code", None) != 416:  # 416: nothing is left to send
            raise FileNotFoundError(
                f"download: {url} cannot be reached ({getattr(error, 'reason', error)}); get "
                f"{target.name} (md5 {md5}) by other means and put it into {target.parent}"
            ) from error
    actual = md5_of(part)
    if actual != md5:
        part.unlink()
        raise ValueError(
            f"download: {url} is not the expected file (md5 {actual}, expected {md5}); "
            f"start again, or put the file into {target.parent}"
        )
    part.replace(target)


def fetch_all(archives: tuple[tuple[str, str], ...], folder: Path) -> None:
    """Download what is not there, check it, and unpack it; what was interrupted goes on.

    Args:
        archives: address and md5 of each.
        folder: that they are unpacked into.
    """
    for url, md5 in archives:
        file = folder / url.rpartition("/")[2]
        done = file.with_name(f"{file.name}.unpacked")
        if done.is_file():
            continue
        if not file.is_file() or md5_of(file) != md5:
            fetch(url, file, md5)
        unpack(file, folder)
        done.touch()


def unpack(file: Path, folder: Path) -> None:
    """Unpack a tar or zip archive; other files stay as they are."""
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
    elif tarfile.is_tarfile(file):
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")


def md5_of(path: Path) -> str:
    """The md5 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()

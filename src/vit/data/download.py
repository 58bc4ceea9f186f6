"""Get a file once: resumed where it stopped, checked by its md5, in place only when whole."""

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

CHUNK = 1 << 20  # bytes


def fetch(url: str, target: Path, md5: str, timeout: float = 20.0) -> None:
    """Download url to target, or go on with target.part.

    Raises:
        FileNotFoundError: the server cannot be reached; says which file to put where by hand.
        ValueError: what came is not the file it should be.
    """
    part = target.with_name(target.name + ".part")
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
    found = md5_of(part)
    if found != md5:
        part.unlink()
        raise ValueError(f"download: {url} is not the expected file (md5 {found}, expected {md5})")
    part.replace(target)


def md5_of(path: Path) -> str:
    """The file's md5 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()

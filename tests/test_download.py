"""A download goes on where it stopped, is checked, and says what to do without a network."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vit.published import download
from vit.published.download import fetch, fetch_all, md5_of
from vit.published.folders import Pets

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    """A local server that knows ranges and keeps what was asked for."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            asked.append(wanted)
            start = int(wanted.split("=")[1].rstrip("-")) if wanted else 0
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            lazy = self.path.endswith("early.bin") and not wanted
            self.wfile.write(CONTENT[start : 5000 if lazy else None])

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/file.bin", asked
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_download_arrives_whole(server, tmp_path):
    fetch(server[0], tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert not (tmp_path / "file.bin.part").exists()


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    fetch(server[0], tmp_path / "file.bin", MD5)
    assert server[1] == ["bytes=1000-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_connection_that_ends_early_loses_nothing(server, tmp_path):
    url = server[0].replace("file.bin", "early.bin")
    with pytest.raises(FileNotFoundError, match="ended early; the same command goes on"):
        fetch(url, tmp_path / "early.bin", MD5)
    fetch(url, tmp_path / "early.bin", MD5)
    assert server[1] == [None, "bytes=5000-"]
    assert (tmp_path / "early.bin").read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(ValueError, match=f"md5 {MD5}, expected 0"):
        fetch(server[0], tmp_path / "file.bin", "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_one_line_says_which_file_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"get file.bin \(md5 {MD5}\) .* into {tmp_path}"):
        fetch("http://127.0.0.1:9/file.bin", tmp_path / "file.bin", MD5, timeout=2.0)


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A tar, a zip and a table that a server would send; and what was asked for."""
    source, asked = tmp_path / "server", []
    source.mkdir()
    with tarfile.open(source / "a.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("images/1.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"one"))
    with zipfile.ZipFile(source / "b.zip", "w") as archive:
        archive.writestr("annotations/list.txt", "two")
    (source / "c.mat").write_bytes(b"three")

    def send(url, target, md5, timeout=20.0):
        asked.append(target.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((source / target.name).read_bytes())

    monkeypatch.setattr(download, "fetch", send)
    names = ("a.tar.gz", "b.zip", "c.mat")
    return tuple((f"http://x/{name}", md5_of(source / name)) for name in names), asked


def test_archives_are_unpacked_once_and_what_was_interrupted_goes_on(tmp_path, archives):
    pairs, asked = archives
    fetch_all(pairs, tmp_path / "here")
    assert (tmp_path / "here/images/1.jpg").read_bytes() == b"one"
    assert (tmp_path / "here/annotations/list.txt").read_bytes() == b"two"
    assert (tmp_path / "here/c.mat").read_bytes() == b"three"
    fetch_all(pairs, tmp_path / "here")
    assert asked == ["a.tar.gz", "b.zip", "c.mat"]
    (tmp_path / "here/a.tar.gz.unpacked").unlink()  # killed while it unpacked
    (tmp_path / "here/images/1.jpg").unlink()
    fetch_all(pairs, tmp_path / "here")
    assert len(asked) == 3
    assert (tmp_path / "here/images/1.jpg").is_file()
    (tmp_path / "here/b.zip.unpacked").unlink()
    (tmp_path / "here/b.zip").write_bytes(b"torn")
    fetch_all(pairs, tmp_path / "here")
    assert asked[3:] == ["b.zip"]


def test_what_somebody_unpacked_by_hand_is_not_fetched(tmp_path, archives, monkeypatch):
    pairs, asked = archives
    monkeypatch.setattr(Pets, "archives", pairs)
    for name in Pets.there:
        (tmp_path / "oxford-iiit-pet" / name).mkdir(parents=True)
    Pets(tmp_path).get()
    assert asked == []
    (tmp_path / "oxford-iiit-pet/a.tar.gz").write_bytes(b"half of it")
    Pets(tmp_path).get()
    assert asked == ["a.tar.gz", "b.zip", "c.mat"]

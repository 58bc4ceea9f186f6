"""A download goes on where it stopped, is checked, and says what to do without a network."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vit.data.download import fetch

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

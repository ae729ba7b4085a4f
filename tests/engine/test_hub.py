"""Files of the hub, from a mirror on this machine: the cache, the progress, a download that is broken off and goes on."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine import weights

CONTENT = bytes(range(256)) * 12_000  # 3 MB
REPOSITORY, FILE = "someone/something", "model.safetensors"


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    asked = []

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def answer(self, body):
            asked.append((self.command, self.path, self.headers.get("Range")))
            if FILE not in self.path:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            wanted = self.headers.get("Range")
            start = int(wanted.split("=")[1].split("-")[0]) if wanted else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("ETag", '"abc"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if body:
                self.wfile.write(CONTENT[start:])

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield asked
    server.shutdown()
    server.server_close()


def test_a_download_tells_how_far_it_has_come_and_is_kept(mirror):
    told = []
    path = weights.fetch(REPOSITORY, FILE, lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    before = len(mirror)
    assert weights.fetch(REPOSITORY, FILE) == path
    assert len(mirror) == before


def test_an_exception_of_the_listener_ends_the_download_and_nothing_half_done_is_used(mirror):
    class Enough(Exception):
        pass

    def listen(done, total):
        raise Enough

    with pytest.raises(Enough):
        weights.fetch(REPOSITORY, FILE, listen)
    assert weights.fetch(REPOSITORY, FILE).read_bytes() == CONTENT


def test_a_file_that_the_hub_does_not_have_is_named(mirror):
    from engine.types import UserError

    with pytest.raises(UserError) as caught:
        weights.fetch(REPOSITORY, "other.bin")
    assert caught.value.key == "weights_unavailable"
    assert "other.bin" in caught.value.message()

"""A hub of weights on this machine, as slow as a test wants it to be."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 1 << 16


@dataclass
class LocalHub:
    """`files`: content by the end of the path. `chunk_s`: seconds between pieces of `chunk` bytes; `silent`: connections are taken, never answered.

    `breaks`: after how many bytes of an answer the connection ends, as often as there are numbers. `parts`: files are handed out in parts.
    `asked`: (method, path, range) of every request. `lies`: the hash that is announced is of something else.
    """

    files: dict[str, bytes]
    chunk_s: float = 0.0
    chunk: int = CHUNK
    silent: bool = False
    lies: bool = False
    parts: bool = True
    breaks: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    endpoint: str = ""
    closed: bool = False

    @property
    def fetched(self) -> list[str | None]:
        """The ranges of the requests for content."""
        return [each[2] for each in self.asked if each[0] == "GET"]


@contextmanager
def serving(hub: LocalHub) -> Iterator[LocalHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        hub.closed = True
        server.shutdown()
        server.server_close()


def _handler(hub: LocalHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def answer(self, body: bool) -> None:
            wanted = self.headers.get("Range")
            hub.asked.append((self.command, self.path, wanted))
            while hub.silent and not hub.closed:
                time.sleep(0.05)
            content = next((each for end, each in hub.files.items() if self.path.endswith(end)), None)
            if content is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(wanted.split("=")[1].split("-")[0]) if wanted and hub.parts else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("ETag", f'"{hashlib.sha256(content + b"!" * hub.lies).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            end = start + hub.breaks.pop(0) if body and hub.breaks else len(content)
            for position in range(start, len(content) if body else 0, hub.chunk):
                if position >= end:
                    self.close_connection = True
                    return
                try:
                    self.wfile.write(content[position : position + hub.chunk])
                except OSError:
                    return
                if hub.chunk_s:
                    time.sleep(hub.chunk_s)

        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

    return Handler

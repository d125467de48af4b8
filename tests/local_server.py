"""A server on this machine that offers data sets, good and bad, and what is compared with it."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pfl_theory.datasets.download import KnownFile


def known(name: str, content: bytes) -> KnownFile:
    return KnownFile(name, len(content), hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest())


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@contextlib.contextmanager
def server(files: dict[str, bytes], *, close_after: int | None = None, status: int = 200):
    """Serve `files` on this machine; with `close_after` announce all bytes and hang up after that many. Yields (url,
    requests).
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.strip("/")
            asked.append(name)
            if name not in files or status != 200:
                self.send_error(status if status != 200 else 404)
                return
            body = files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:close_after])
            self.close_connection = True

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/", asked
        finally:
            http.shutdown()
            thread.join(timeout=5)


def shut_in(monkeypatch, folder: Path, module) -> Path:
    """A reader that neither reads nor writes the user's own folders, nor reaches beyond this machine."""
    monkeypatch.setenv("PFL_THEORY_CACHE", str(folder / "cache"))
    monkeypatch.delenv("PFL_THEORY_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "MIRRORS", ("http://127.0.0.1:9/",))
    return folder


def left_behind(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "cache").rglob("*") if p.is_file())

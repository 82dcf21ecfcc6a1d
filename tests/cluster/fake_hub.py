"""A hub on loopback with one repository: a folder, its commit, ranges, and a list of what was asked for."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c0ffee" + "0" * 34
LARGE = 10_000  # files from here on are kept by their SHA-256


class FakeHub(ThreadingHTTPServer):
    """``asked``: method, file name and bytes that were sent. ``damaged``: a file that arrives changed."""

    daemon_threads = True

    def __init__(self, repository: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.folder = folder
        self.asked: list[tuple[str, str, int]] = []
        self.damaged = ""
        self.status = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fetched(self) -> dict[str, int]:
        """Bytes sent of each file by whole requests for it or a range."""
        sums: dict[str, int] = {}
        for method, name, size in self.asked:
            if method == "GET":
                sums[name] = sums.get(name, 0) + size
        return sums


@contextmanager
def serving(repository: str, folder: Path) -> Iterator[FakeHub]:
    hub = FakeHub(repository, folder)
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        if hub.status:
            self._send(hub.status, b"{}", {})
        elif path.startswith(f"/api/models/{hub.repository}/revision/"):
            self._send(200, json.dumps({"sha": COMMIT, "siblings": [*self._siblings()]}).encode(), {})
        elif path.startswith(f"/{hub.repository}/resolve/{COMMIT}/"):
            self._file(path.rpartition("/")[2])
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _siblings(self) -> Iterator[dict[str, object]]:
        for path in sorted(self.server.folder.iterdir()):
            size = path.stat().st_size
            about: dict[str, object] = {"rfilename": path.name, "size": size}
            if size >= LARGE:
                about["lfs"] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": size}
            yield about

    def _file(self, name: str) -> None:
        data = (self.server.folder / name).read_bytes()
        etag = hashlib.sha256(data).hexdigest()
        if name == self.server.damaged:
            data = data[:-1] + bytes([data[-1] ^ 1])
        status, more = 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            first, _, last = asked[6:].partition("-")
            start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
            more["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            status, data = 206, data[start : end + 1]
        self.server.asked.append((self.command, name, len(data)))
        self._send(status, data, more)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

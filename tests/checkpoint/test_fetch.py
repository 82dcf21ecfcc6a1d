"""The host's end of the hub by itself; what it fetches is shown with the console's end of it."""

import json
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path

SCRIPT = resources.files("ringcore.checkpoint").joinpath("fetch.py").read_text()


def test_it_ends_when_the_console_is_gone(tmp_path: Path) -> None:
    """A hub that takes connections and says nothing would be waited for without a console all the same."""
    with socket.create_server(("127.0.0.1", 0)) as hub:
        order = {
            "endpoint": f"http://127.0.0.1:{hub.getsockname()[1]}",
            "repository": "o/n",
            "revision": "0" * 40,
            "folder": str(tmp_path / "model"),
            "files": {"config.json": [10, ""]},
            "index": {},
        }
        fetching = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert fetching.stdin is not None and fetching.stdout is not None
            fetching.stdin.write(json.dumps(order).encode() + b"\n")
            fetching.stdin.flush()
            assert json.loads(fetching.stdout.readline()) == {"total": 10}
            asked, _ = hub.accept()
            fetching.stdout.close()
            fetching.stdout = None
            assert fetching.wait(8) == 1
            asked.close()
        finally:
            fetching.kill()
            fetching.communicate()

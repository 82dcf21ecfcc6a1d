"""The first process of a machine: gives it a name, users and folders of its own, then reaps orphans.

Runs as root, alone, in fresh namespaces (`machine`): ``python -I init.py SPEC``. SPEC is JSON: ``hostname``,
``user``, ``folder`` (the machine's, outside), ``own_network`` and ``reveal`` (paths that every user must be
able to read, wherever they lie). Says "ready" on standard output.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

STAGE = Path("/mnt")  # the machine's own folder is STAGE/machine
_ETC = ("passwd", "group", "shadow", "hostname")


def main(spec: dict[str, Any]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    run("hostname", spec["hostname"])
    tmpfs(STAGE)
    bind(Path(spec["folder"]), STAGE / "machine")
    shown = [Path(path) for path in spec["reveal"]]
    for number, path in enumerate(shown):
        bind(path, STAGE / str(number))
    closed = {path: first_closed(path) for path in shown}
    names = Path("/etc/resolv.conf")
    name_servers = names.read_bytes() if names.exists() else b""
    for place in {Path("/home"), Path("/run"), *filter(None, closed.values())}:
        tmpfs(place)
    tmpfs(Path("/tmp"), "1777")
    for number, path in enumerate(shown):
        if not path.exists():  # it lay in a folder that is covered now
            bind(STAGE / str(number), path)
    Path("/run/sshd").mkdir()
    if not names.exists():
        names.resolve().parent.mkdir(parents=True, exist_ok=True)
        names.resolve().write_bytes(name_servers)
    for name in _ETC:
        run("mount", "--bind", str(STAGE / "machine" / "etc" / name), f"/etc/{name}")
    bind(STAGE / "machine" / "home", Path("/home") / spec["user"])
    if spec["own_network"]:  # whose devices /sys is to show
        run("mount", "-t", "sysfs", "sysfs", "/sys")
    print("ready", flush=True)
    while True:
        signal.sigwait({signal.SIGCHLD})
        reap()


def first_closed(path: Path) -> Path | None:
    """The uppermost folder above ``path`` that other users cannot enter."""
    return next((p for p in reversed(path.parents) if not p.stat().st_mode & 0o001), None)


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def tmpfs(place: Path, mode: str = "755") -> None:
    run("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", str(place))


def bind(source: Path, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", str(source), str(place))


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""Starts real agents of one ring on this machine, as the console would, and listens to them as it would."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from ringcore.agent.rundir import ProcessId, RunDir
from ringcore.spec.control import Attach, Happened, StopRing, Welcome, agent_to_console, line
from ringcore.spec.deployment import DEPLOYMENT_FILE, SECRET_FILE, Deployment, Member
from ringcore.spec.events import Event, Recorded
from ringcore.spec.plan import Plan
from tests.checkpoint.files import read_card
from tests.ring.harness import REPOSITORY, free_ports, make_plan, until

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"}


class Attachment:
    """One ``attach`` process and what came through it."""

    def __init__(self, run: Path, *, after: int = 0, run_id: str = "", stop: bool = False) -> None:
        self.welcome: Welcome | None = None
        self.records: list[Recorded] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ringcore", "attach", "--run", str(run)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
        )  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(line(Attach(after=after, run_id=run_id)))
        if stop:
            self.process.stdin.write(line(StopRing()))
        self.process.stdin.flush()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            message = agent_to_console.decode(text)
            if isinstance(message, Welcome):
                self.welcome = message
            elif isinstance(message, Happened):
                self.records.append(message.record)

    def events(self, kind: type[Event], **fields: Any) -> list[Any]:
        """Events of that kind with those values."""
        return [
            record.event
            for record in tuple(self.records)
            if isinstance(record.event, kind)
            and all(getattr(record.event, name) == value for name, value in fields.items())
        ]

    def wait(self, kind: type[Event], seconds: float = 40.0, **fields: Any) -> Any:
        """The first such event, once it has come."""
        until(
            lambda: self.events(kind, **fields) or self.process.poll() is not None,
            f"{kind.__name__} {fields}", seconds,
        )  # fmt: skip
        self._drain()
        found = self.events(kind, **fields)
        assert found, f"no {kind.__name__} {fields}; the last: {self.records[-3:]}"
        return found[0]

    def to_the_end(self, seconds: float = 20.0) -> list[Recorded]:
        """Everything until the other side closed."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the attachment did not end"
        return self.records

    def _drain(self) -> None:
        if self.process.poll() is not None:
            self._thread.join(5)

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(OSError, ValueError):
                if stream is not None and stream is not self.process.stdout:
                    stream.close()
        self.process.wait(5)
        self._thread.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Agents:
    """``counts``: layers of each rank. Each rank has its own run folder, ``folder/rN/runs/t``."""

    def __init__(self, folder: Path, model: Path, counts: list[int], **plan: Any) -> None:
        self.folder = folder
        self.model = model
        ports = free_ports(len(counts) + 2)
        self.control_port, self.api_port, *self.link_ports = ports
        self.plan = planned(model, counts, **plan)
        self._attachments: list[Attachment] = []
        self.deploy("run1")

    def deploy(self, run_id: str, secret: str = "s" * 32, **changes: Any) -> None:
        """Write every run folder; ``changes`` to the `Deployment`."""
        members = tuple(
            Member(rank=rank, host=f"h{rank}", address="127.0.0.1", link_port=port)
            for rank, port in enumerate(self.link_ports)
        )
        for rank in range(len(members)):
            values = {
                "ring": "t", "run_id": run_id, "rank": rank, "plan": self.plan, "members": members,
                "control_port": self.control_port, "backend": "ring", "model_name": "m",
                "model_path": str(self.model), "api_bind": "127.0.0.1", "api_port": self.api_port,
            }  # fmt: skip
            run = self.run(rank)
            run.mkdir(parents=True, exist_ok=True)
            write(run / DEPLOYMENT_FILE, msgspec.json.encode(Deployment(**(values | changes))))
            write(run / SECRET_FILE, secret.encode())

    def run(self, rank: int) -> Path:
        return self.folder / f"r{rank}" / "runs" / "t"

    def start(self, rank: int) -> dict[str, Any]:
        """The answer of ``ringcore agent``."""
        command = [sys.executable, "-m", "ringcore", "agent", "--run", str(self.run(rank))]
        ran = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False
        )
        assert ran.stdout.count("\n") == 1, ran.stdout + ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        assert (ran.returncode == 0) == answer["ok"]
        return answer

    def start_all(self) -> None:
        for rank in range(len(self.link_ports)):
            answer = self.start(rank)
            assert answer["ok"], answer

    def attach(self, rank: int, **options: Any) -> Attachment:
        attachment = Attachment(self.run(rank), **options)
        self._attachments.append(attachment)
        return attachment

    def reap(self, rank: int, *options: str) -> int:
        command = [sys.executable, "-m", "ringcore", "reap", "--run", str(self.run(rank)), *options]
        return subprocess.run(command, env=ENVIRONMENT, timeout=30, check=False).returncode

    def process(self, rank: int, role: str) -> psutil.Process:
        """The process of that role on that host, by the pid file."""
        found = [p for p in RunDir(self.run(rank)).processes() if p.role == role]
        assert len(found) == 1 and found[0].alive, f"no {role} of rank {rank}: {found}"
        return psutil.Process(found[0].pid)

    def left(self) -> list[ProcessId]:
        """Processes of the ring that still run, whatever the pid files say."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            inside = str(process.info["cwd"] or "").startswith(str(self.folder))
            line = process.info["cmdline"] or []
            if inside and "ringcore" in line and "attach" not in line:
                found.append(ProcessId(process.pid, process.create_time(), line[3]))
        return found

    def nothing_is_left(self, seconds: float = 6.0) -> None:
        until(lambda: not self.left(), "every process to end", seconds)
        assert not [path for path in self.folder.rglob("*") if path.is_socket()]
        assert not list(self.folder.rglob("agent.pid"))

    def clear(self) -> None:
        """After a test, whatever it left."""
        for process in self.left():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        for attachment in self._attachments:
            attachment.process.kill()
            attachment.close()


def planned(model: Path, counts: list[int], **options: Any) -> Plan:
    """A plan by hand for the model in ``model``, with the bytes its ranks will hold."""
    card = read_card(model, "float32")
    sizes: list[int] = []
    plan = make_plan(counts, **options)
    for stage in plan.stages:
        size = sum(card.layers[layer].weight_bytes for layer in range(stage.shard.start, stage.shard.end))
        size += card.embedding_bytes if stage.shard.is_first else 0
        size += card.norm_bytes + card.head_bytes if stage.shard.is_last else 0
        size -= card.head_bytes if stage.shard.is_first and stage.shard.is_last and card.tied else 0
        sizes.append(size)
    return make_plan(counts, weight_bytes=sizes, **options)


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


Make = Callable[..., Agents]

"""Plays the agents and the gateway of a ring on this machine, over real rank processes and real links.

`Ring` is a context manager; whatever happens, its processes are gone when it ends. Waiting is polling
a condition with a deadline.
"""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ringcore.spec import engine
from ringcore.spec.control import (
    AgentToChild,
    Fatal,
    Fingerprints,
    Join,
    Pressure,
    Quit,
    Say,
    Wake,
    WakeAll,
    child_to_agent,
    line,
)
from ringcore.spec.deployment import DEPLOYMENT_FILE, ENGINE_SOCKET, Deployment, Member
from ringcore.spec.events import MemoryPressure, MemoryUsed, RankChanged, StepCount
from ringcore.spec.plan import Plan, Stage
from ringcore.spec.root import root_of
from ringcore.spec.shard import Shard

REPOSITORY = Path(__file__).parents[2]
FAKE, REAL = "tests.ring.fake_rank", "ringcore"


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Poll ``condition``; fails naming ``what`` when it is still false after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, on 127.0.0.1, and that no outgoing connection is given."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(15000, 31000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports += [port] if port not in ports else []
    return ports


def make_plan(
    counts: Sequence[int], *, order: str = "reverse", weight_bytes: Sequence[int] = (), **options: int
) -> Plan:
    """``counts``: layers of each rank, rank 0 first."""
    total = sum(counts)
    shards: dict[int, Shard] = {}
    at = 0
    ranks = list(range(len(counts)))
    for rank in reversed(ranks) if order == "reverse" else ranks:
        shards[rank] = Shard(at, at + counts[rank], total)
        at += counts[rank]
    stages = tuple(
        Stage(
            rank=rank,
            host=f"host{rank}",
            shard=shards[rank],
            weight_bytes=weight_bytes[rank] if weight_bytes else 0,
            kv_bytes=0,
            workspace_bytes=0,
            reserve_bytes=0,
            ceiling_bytes=1 << 40,
            ceiling_source="test",
        )
        for rank in ranks
    )
    values = {"context": 4096, "sequences": 4, "prefill_chunk": 16, **options}
    return Plan(
        model="m", architecture="a", revision="r", dtype="float32", order=order, stages=stages, **values
    )


class Rank:
    """One rank process and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, log: Path) -> None:
        self.process = process
        self.control = control
        self.log = log
        self.phases: list[RankChanged] = []
        self.steps: list[StepCount] = []
        self.memory: list[MemoryUsed] = []
        self.pressures: list[MemoryPressure] = []
        self.said: list[str] = []
        self.fingerprints: Fingerprints | None = None
        self.fatal: Fatal | None = None

    @property
    def phase(self) -> str:
        return self.phases[-1].phase if self.phases else ""

    def tell(self, message: AgentToChild) -> None:
        """As its agent would. Nothing happens when it has ended: a stop step may have come by, or a neighbour
        have gone."""
        with contextlib.suppress(ConnectionError):
            self.control.sendall(line(message))

    def wake(self) -> None:
        self.tell(Wake())

    def press(self, event: MemoryPressure) -> None:
        """As the agents pass on to rank 0 what a rank says of its memory."""
        self.tell(Pressure(event=event))

    def lose_agent(self) -> None:
        """As if its agent had died."""
        self.control.shutdown(socket.SHUT_RDWR)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Ring:
    """``module`` is what runs as a rank: `FAKE` or `REAL`. Ready on entry unless ``join`` is False.
    ``inside``: a command that runs the rest of its arguments, around the last rank."""

    def __init__(
        self,
        plan: Plan,
        *,
        module: str = FAKE,
        model: Path = Path("none"),
        join: bool = True,
        epoch: int = 3,
        ports: Sequence[int] = (),
        prefix: Path | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        self.plan = plan
        self.ranks: list[Rank] = []
        self._module, self._model, self._join, self.epoch = module, model, join, epoch
        self._inside = list(inside)
        self.ports = list(ports) or free_ports(len(plan.stages))
        self.environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        self._prefix = prefix  # where each rank's blocks on disk outlive the ring
        self._folder = Path(tempfile.mkdtemp(prefix="ring-"))
        self._messages: list[engine.EngineToGateway] = []
        self._connections: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.wakes = 0
        self.root = ""  # of the blocks, once the ranks have loaded

    # life ----------------------------------------------------------------------------------------
    def __enter__(self) -> "Ring":
        try:
            self._start()
            if self._join:
                self.open_gateway()
                self.join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close_gateway()
        for rank in self.ranks:
            if rank.process.poll() is None:
                rank.process.kill()
            rank.process.wait()
            rank.control.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        count = len(self.plan.stages)
        members = tuple(
            Member(rank=rank, host=f"host{rank}", address="127.0.0.1", link_port=port)
            for rank, port in enumerate(self.ports)
        )
        for number in range(count):
            deployment = Deployment(
                ring="test", run_id="1", rank=number, plan=self.plan, members=members, control_port=0,
                backend="ring", model_name="m", model_path=str(self._model), api_bind="127.0.0.1", api_port=0,
            )  # fmt: skip
            run = self.run(number)
            run.mkdir()
            if self._prefix:
                (self._prefix / str(number)).mkdir(parents=True, exist_ok=True)
                (run / "prefix").symlink_to(self._prefix / str(number))
            (run / DEPLOYMENT_FILE).write_bytes(msgspec.json.encode(deployment))
            ours, theirs = socket.socketpair()
            command = self._inside if number == count - 1 else []
            command = [*command, sys.executable, "-m", self._module] + (
                ["rank"] if self._module == REAL else []
            )
            command += ["--run", str(run), "--rank", str(number), "--epoch", str(self.epoch)]
            with (run / "rank.log").open("wb") as log, theirs:
                process = subprocess.Popen(
                    [*command, "--control-fd", str(theirs.fileno())],
                    cwd=run, pass_fds=[theirs.fileno()], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                    env=self.environment,
                )  # fmt: skip
            rank = Rank(process, ours, run / "rank.log")
            self.ranks.append(rank)
            threading.Thread(target=self._hear, args=(rank,), daemon=True).start()

    def run(self, rank: int) -> Path:
        """The run directory of a rank."""
        return self._folder / str(rank)

    def loaded(self) -> None:
        """Wait until all have loaded."""
        self.wait(lambda: all(rank.phase == "loaded" for rank in self.ranks), "all ranks loaded")

    def join(self) -> None:
        """Join when all have loaded, and wait until all are ready."""
        self.loaded()
        told = [(number, rank.fingerprints) for number, rank in enumerate(self.ranks)]
        self.root = root_of(self.plan, {number: each for number, each in told if each})
        for rank in self.ranks:
            rank.tell(Join(root=self.root))
        self.wait(lambda: all(rank.phase == "ready" for rank in self.ranks), "all ranks ready")

    def quit(self) -> list[int]:
        """Quit to all; their exit codes."""
        for rank in self.ranks:
            rank.tell(Quit())
        return [rank.process.wait(10) for rank in self.ranks]

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 40.0) -> None:
        """`until`, but a rank that dies meanwhile fails at once, with its log."""

        def met() -> bool:
            if condition():
                return True
            for rank in self.ranks:
                if rank.process.poll() is not None:
                    raise AssertionError(f"{what}: {rank.fatal} {rank.said} {rank.log.read_text()}")
            return False

        until(met, what, seconds)

    def _hear(self, rank: Rank) -> None:
        with rank.control.makefile("rb") as lines:
            try:
                for text in lines:
                    self._heard(rank, child_to_agent.decode(text))
            except (OSError, ValueError):
                return

    def _heard(self, rank: Rank, message: object) -> None:
        match message:
            case RankChanged():
                rank.phases.append(message)
            case StepCount():
                rank.steps.append(message)
            case MemoryUsed():
                rank.memory.append(message)
            case MemoryPressure():
                rank.pressures.append(message)
                self.ranks[0].press(message)
            case Say():
                rank.said.append(message.text)
            case Fingerprints():
                rank.fingerprints = message
            case Fatal():
                rank.fatal = message
            case WakeAll():
                self.wakes += 1
                for other in self.ranks[1:]:
                    other.wake()
            case _:
                raise AssertionError(message)

    # the gateway ---------------------------------------------------------------------------------
    def open_gateway(self) -> None:
        """Listen on the leader's engine.sock, and take whoever connects."""
        path = self.run(0) / ENGINE_SOCKET
        path.unlink(missing_ok=True)
        listener = self._listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close_gateway(self) -> None:
        """As if the gateway had died."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._listener = None
        for connection in self._connections:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            try:
                for text in lines:
                    self._messages.append(engine.engine_to_gateway.decode(text))
            except (OSError, ValueError):
                return

    def submit(
        self,
        request_id: str,
        prompt: list[int],
        max_tokens: int = 16,
        *,
        stop: Sequence[int] = (),
        **sampling: Any,
    ) -> None:
        """Send a request. ``sampling``: fields of `Sampling`."""
        self.send(
            engine.Submit(
                id=request_id, prompt=prompt, max_tokens=max_tokens, stop_tokens=list(stop),
                sampling=msgspec.convert(sampling, engine.Sampling),
            )
        )  # fmt: skip

    def send(self, message: engine.GatewayToEngine) -> None:
        self.say(engine.encoder.encode(message) + b"\n")

    def say(self, data: bytes) -> None:
        """Anything at all, over engine.sock."""
        self.wait(lambda: self._connections, "the leader at the gateway")
        self._connections[-1].sendall(data)

    def messages(self, kind: type, request_id: str | None = None) -> list:
        """What came over engine.sock of that kind, of one request or of all."""
        return [
            message
            for message in tuple(self._messages)
            if isinstance(message, kind) and (request_id is None or message.id == request_id)
        ]

    def tokens(self, request_id: str) -> list[int]:
        """Tokens that have come so far; fails when their indexes have a gap."""
        found = self.messages(engine.Token, request_id)
        assert [token.index for token in found] == list(range(len(found)))
        return [token.token for token in found]

    def finished(self, request_id: str, seconds: float = 60.0) -> engine.Finished:
        self.wait(lambda: self.messages(engine.Finished, request_id), f"the end of {request_id}", seconds)
        return self.messages(engine.Finished, request_id)[0]

    def answer(self, request_id: str, prompt: list[int], max_tokens: int = 16, **options) -> list[int]:
        """Submit, wait, and return the tokens."""
        self.submit(request_id, prompt, max_tokens, **options)
        self.finished(request_id)
        return self.tokens(request_id)

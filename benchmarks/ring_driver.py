"""A ring of real ranks on this machine without agent, gateway and console: plays those, and measures.

Owns the rank processes and their sockets. One thread, one select: a token's time is when its line was
there. Knows nothing of models; a plan and a folder say which.
"""

import contextlib
import os
import random
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from ringcore.spec.control import Fatal, Join, Quit, Say, Wake, WakeAll, child_to_agent, line
from ringcore.spec.deployment import DEPLOYMENT_FILE, ENGINE_SOCKET, Deployment, Member
from ringcore.spec.engine import Finished, Refused, Submit, Token, encoder, engine_to_gateway
from ringcore.spec.events import RankChanged, StepCount
from ringcore.spec.plan import Plan

REPOSITORY = Path(__file__).parents[1]
LOAD_SECONDS, ANSWER_SECONDS, QUIT_SECONDS = 240.0, 240.0, 10.0
EPOCH = 1


class RingFailed(Exception):
    """A rank ended, or the ring said nothing in time. The message carries the rank's log."""


class Answer(msgspec.Struct, frozen=True):
    """One request's: seconds of the monotonic clock, the same in all processes of a machine."""

    began: float
    arrivals: tuple[float, ...]
    tokens: tuple[int, ...]


class _Rank:
    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, log: Path) -> None:
        self.process = process
        self.control = control
        self.log = log
        self.phase = ""
        self.steps: StepCount | None = None
        self.said: list[str] = []


class Ring:
    """A context manager, serving on entry; its processes are gone when it ends, whatever happens."""

    def __init__(self, plan: Plan, model: Path, environment: Mapping[str, str] | None = None) -> None:
        self._plan = plan
        self._model = model
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = {**os.environ, "PYTHONPATH": path, **(environment or {})}
        self._folder = Path(tempfile.mkdtemp(prefix="ring-"))
        self._selector = selectors.DefaultSelector()
        self._unread: dict[int, bytes] = {}
        self._ranks: list[_Rank] = []
        self._gateway: socket.socket | None = None
        self._arrivals: dict[str, list[float]] = {}
        self._tokens: dict[str, list[int]] = {}
        self._finished: set[str] = set()
        self._asked = 0

    def __enter__(self) -> "Ring":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for rank in self._ranks:
            with contextlib.suppress(OSError):
                rank.control.sendall(line(Quit()))
        deadline = time.monotonic() + QUIT_SECONDS
        for rank in self._ranks:
            with contextlib.suppress(subprocess.TimeoutExpired):
                rank.process.wait(max(0.0, deadline - time.monotonic()))
            if rank.process.poll() is None:
                rank.process.kill()
                rank.process.wait()
            rank.control.close()
        if self._gateway is not None:
            self._gateway.close()
        self._selector.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def answers(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[Answer]:
        """``tokens`` greedy tokens to each of ``prompts``, asked at once. Raises `RingFailed`."""
        began: dict[str, float] = {}
        assert self._gateway is not None
        for prompt in prompts:
            self._asked += 1
            name = str(self._asked)
            self._arrivals[name], self._tokens[name] = [], []
            request = Submit(id=name, prompt=list(prompt), max_tokens=tokens, stop_tokens=[])
            text = encoder.encode(request) + b"\n"
            began[name] = time.monotonic()
            self._gateway.sendall(text)
        self._until(lambda: began.keys() <= self._finished, f"{len(prompts)} answers", ANSWER_SECONDS)
        return [
            Answer(at, tuple(self._arrivals.pop(name)), tuple(self._tokens.pop(name)))
            for name, at in began.items()
        ]

    @property
    def busy(self) -> list[float]:
        """Seconds each rank has said it computed, rank 0 first."""
        return [rank.steps.busy_seconds if rank.steps else 0.0 for rank in self._ranks]

    @property
    def pids(self) -> list[int]:
        """Of the rank processes, rank 0 first."""
        return [rank.process.pid for rank in self._ranks]

    @property
    def said(self) -> list[str]:
        """The log lines of all ranks."""
        return [text for rank in self._ranks for text in rank.said]

    # inside --------------------------------------------------------------------------------------
    def _start(self) -> None:
        stages = self._plan.stages
        members = tuple(
            Member(rank=stage.rank, host=stage.host, address="127.0.0.1", link_port=port)
            for stage, port in zip(stages, _free_ports(len(stages)), strict=True)
        )
        for member in members:
            self._ranks.append(self._start_rank(member, members))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._folder / "0" / ENGINE_SOCKET))
        listener.listen()
        self._until(lambda: all(rank.phase == "loaded" for rank in self._ranks), "loading", LOAD_SECONDS)
        for rank in self._ranks:
            rank.control.sendall(line(Join()))
        self._until(lambda: all(rank.phase == "ready" for rank in self._ranks), "joining", LOAD_SECONDS)
        listener.settimeout(QUIT_SECONDS)
        with listener:
            self._gateway, _ = listener.accept()
        self._watch(self._gateway, self._heard_of_requests)

    def _start_rank(self, member: Member, members: tuple[Member, ...]) -> _Rank:
        run = self._folder / str(member.rank)
        run.mkdir()
        deployment = Deployment(
            ring="benchmark", run_id="1", rank=member.rank, plan=self._plan, members=members,
            control_port=0, backend="ring", model_name=self._plan.model, model_path=str(self._model),
            api_bind="127.0.0.1", api_port=0,
        )  # fmt: skip
        (run / DEPLOYMENT_FILE).write_bytes(msgspec.json.encode(deployment))
        ours, theirs = socket.socketpair()
        with (run / "rank.log").open("wb") as log, theirs:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "ringcore", "rank", "--run", str(run), "--rank", str(member.rank),
                    "--epoch", str(EPOCH), "--control-fd", str(theirs.fileno()),
                ],
                cwd=run, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._environment,
            )  # fmt: skip
        rank = _Rank(process, ours, run / "rank.log")
        self._watch(ours, lambda text: self._heard_of_rank(rank, text))
        return rank

    def _watch(self, connection: socket.socket, heard: Callable[[bytes], None]) -> None:
        self._unread[connection.fileno()] = b""
        self._selector.register(connection, selectors.EVENT_READ, heard)

    def _until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            ready = self._selector.select(max(0.0, min(1.0, deadline - time.monotonic())))
            for key, _ in ready:
                self._read(key)
            for number, rank in enumerate(self._ranks):
                if not ready and rank.process.poll() is not None:  # its last words are read first
                    raise RingFailed(f"{what}: rank {number} ended\n{self._last_words(rank)}")
            if time.monotonic() > deadline:
                words = "\n".join(self._last_words(rank) for rank in self._ranks)
                raise RingFailed(f"{what} took more than {seconds:g} s\n{words}")

    def _read(self, key: selectors.SelectorKey) -> None:
        assert isinstance(key.fileobj, socket.socket)
        try:
            data = key.fileobj.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(key.fileobj)
        *lines, self._unread[key.fd] = (self._unread[key.fd] + data).split(b"\n")
        for text in lines:
            key.data(text)

    def _heard_of_rank(self, rank: _Rank, text: bytes) -> None:
        match child_to_agent.decode(text):
            case RankChanged(phase=phase):
                rank.phase = phase
            case StepCount() as steps:
                rank.steps = steps
            case Say(text=said):
                rank.said.append(said)
            case Fatal(failure=failure):
                rank.said.append(f"{failure.cause}; {failure.remedy}")
            case WakeAll():
                for other in self._ranks[1:]:
                    other.control.sendall(line(Wake()))
            case _:
                pass

    def _heard_of_requests(self, text: bytes) -> None:
        now = time.monotonic()
        match engine_to_gateway.decode(text):
            case Token(id=name, token=token):
                self._arrivals[name].append(now)
                self._tokens[name].append(token)
            case Finished(id=name):
                self._finished.add(name)
            case Refused(cause=cause):
                raise RingFailed(cause)
            case _:
                pass

    def _last_words(self, rank: _Rank) -> str:
        return "\n".join([*rank.said, rank.log.read_text(errors="replace")[-4000:]])


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below those given to outgoing connections."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randint(15000, 31000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.add(port)
    return sorted(ports)

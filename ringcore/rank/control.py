"""The rank's end of the socket to its agent: words out, and a thread that listens.

The thread is what makes a rank mortal: whatever the main thread is blocked in, the end of the socket
(the agent is gone) ends the process at once, and Quit does after a grace. Knows nothing of steps.
"""

import contextlib
import os
import select
import socket
import threading
from collections import deque

import msgspec
from msgspec import Struct

from ringcore.spec.control import (
    AgentToChild,
    BlocksElsewhere,
    Brought,
    ForgetPrefixes,
    Join,
    Pressure,
    Quit,
    Say,
    Wake,
    agent_to_child,
    line,
)
from ringcore.spec.errors import Failure
from ringcore.spec.events import Level, MemoryPressure, RankChanged, RankPhase

QUIT_SECONDS = 1.0  # for a stop step to come round
_AGENT_GONE = 3  # exit code


class Control:
    """Owns ``descriptor`` (a connected Unix socket). Every method may be called from any thread."""

    def __init__(self, descriptor: int, rank: int) -> None:
        self.rank = rank
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(True)
        os.set_inheritable(descriptor, False)
        self._sending = threading.Lock()
        self._told, self._tell = socket.socketpair()
        self._told.setblocking(False)
        self._tell.setblocking(False)
        self._joined = threading.Event()
        self._woken = threading.Event()
        self._quitting = threading.Event()
        self.root = ""  # as `Join` told it
        self.forgets = 0  # times that the operator wanted nothing to be kept of earlier sequences
        self._blocks: deque[BlocksElsewhere | Brought] = deque()
        self._pressures: dict[int, MemoryPressure] = {}  # replaced, never changed

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._listen, name="control", daemon=True).start()

    # out -----------------------------------------------------------------------------------------
    def send(self, message: Struct) -> None:
        """One line to the agent; ends the process when there is no agent."""
        try:
            with self._sending:
                self._socket.sendall(line(message))
        except OSError:
            os._exit(_AGENT_GONE)

    def say(self, text: str, level: Level = "INFO") -> None:
        self.send(Say(level=level, text=text))

    def phase(
        self,
        phase: RankPhase,
        *,
        progress: float = 0.0,
        detail: str = "",
        failure: Failure | None = None,
        computes_with: str = "",
    ) -> None:
        self.send(
            RankChanged(
                rank=self.rank,
                phase=phase,
                progress=progress,
                detail=detail,
                pid=os.getpid(),
                failure=failure,
                computes_with=computes_with,
            )
        )

    # in ------------------------------------------------------------------------------------------
    @property
    def quitting(self) -> bool:
        """The agent has said Quit."""
        return self._quitting.is_set()

    def wait_for_join(self) -> bool:
        """Until the agent says Join (True) or Quit (False); it decides how long that takes."""
        self._joined.wait()
        return not self.quitting

    def forget_wake(self) -> None:
        """A wake that came before now was for an earlier rest."""
        self._woken.clear()
        if self.quitting:  # heard just before: no rest may swallow it
            self._woken.set()

    def wait_for_wake(self, seconds: float) -> bool:
        """Until the agent says Wake or Quit; False when ``seconds`` have passed."""
        return self._woken.wait(seconds)

    @property
    def pressures(self) -> dict[int, MemoryPressure]:
        """How ranks stand with their memory, those that said so; another object after each word of it."""
        return self._pressures

    def take_blocks(self) -> list[BlocksElsewhere | Brought]:
        """What was said of blocks on other hosts since the last call."""
        taken: list[BlocksElsewhere | Brought] = []
        while self._blocks:
            taken.append(self._blocks.popleft())
        return taken

    def fileno(self) -> int:
        """Readable after a Quit, a word on memory, blocks or what to forget, for a select; see `drain`."""
        return self._told.fileno()

    def drain(self) -> None:
        """Make `fileno` unreadable again."""
        while select.select([self._told], [], [], 0)[0]:
            self._told.recv(64)

    # the thread ----------------------------------------------------------------------------------
    def _listen(self) -> None:
        buffer = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                os._exit(_AGENT_GONE)
            *lines, buffer = (buffer + data).split(b"\n")
            for text in lines:
                self._hear(text)

    def _hear(self, text: bytes) -> None:
        try:
            message: AgentToChild = agent_to_child.decode(text)
        except msgspec.MsgspecError as error:
            self.say(f"the agent said something unknown: {error}", "WARNING")
            return
        match message:
            case Join(root):
                self.root = root
                self._joined.set()
            case Wake():
                self._woken.set()
            case Pressure(event):
                self._pressures = {**self._pressures, event.rank: event}
                self._ring()
            case BlocksElsewhere() | Brought():
                self._blocks.append(message)
                self._ring()
            case ForgetPrefixes():
                self.forgets += 1
                self._ring()
            case Quit():
                self._quitting.set()
                self._joined.set()
                self._woken.set()
                self._ring()
                timer = threading.Timer(QUIT_SECONDS, os._exit, (0,))
                timer.daemon = True
                timer.start()
            case _:
                pass  # meant for the gateway

    def _ring(self) -> None:
        """Make `fileno` readable; where nobody has read for long, it is."""
        with contextlib.suppress(BlockingIOError):
            self._tell.send(b"!")

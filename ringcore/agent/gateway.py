"""The gateway's process as the leader's agent sees it: its address, its unfinished requests, its end."""

from collections.abc import Callable
from pathlib import Path

from ringcore.agent.child import Child
from ringcore.agent.journal import Journal
from ringcore.spec.control import ChildToAgent, Fatal, GatewayReady, Say
from ringcore.spec.deployment import Deployment
from ringcore.spec.errors import Failure, RingError
from ringcore.spec.events import Level, LogLine, MemoryUsed, RequestChanged, StepCount

QUIT_SECONDS = 4.0  # streams get 2 s to hear that the ring is going


class Gateway:
    """``changed`` is called when ``url`` or ``unfinished`` did. ``failed``: it ended untold."""

    def __init__(
        self,
        folder: Path,
        deployment: Deployment,
        journal: Journal,
        changed: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self.url = ""
        self.child: Child | None = None
        self._folder = folder
        self._deployment = deployment
        self._journal = journal
        self._changed = changed
        self._failed = failed
        self._requests: set[str] = set()
        self._told: dict[tuple[type, int], StepCount | MemoryUsed] = {}
        self._fatal: Failure | None = None
        self._ending = False

    @property
    def unfinished(self) -> int:
        """Requests that wait for the ring."""
        return len(self._requests)

    async def run(self, started: Callable[[], None]) -> None:
        """From the start of the process to its end."""
        log = self._folder / "gateway.log"
        try:
            self.child = await Child.start(
                "gateway", ["--run", "."], self._folder, log, self._hear, self._print
            )
        except OSError as error:
            self._failed(self._failure(f"the gateway cannot be started: {error.strerror or error}", ""))
            return
        started()
        status = await self.child.ended
        if not self._ending:
            cause = f"the gateway ended with status {status} and no last word"
            self._failed(self._fatal or self._failure(cause, "read gateway.log in the run folder"))

    def tell(self, event: StepCount | MemoryUsed) -> None:
        """What a rank said of itself; a gateway that is not up yet hears the last of each when it is, and one
        that reads nothing is spared: there is more with every second."""
        self._told[type(event), event.rank] = event
        if self.url and self.child is not None and not self.child.deaf:
            self.child.tell(event)

    async def end(self) -> None:
        self._ending = True
        if self.child is not None:
            await self.child.end(QUIT_SECONDS)

    def _hear(self, message: ChildToAgent) -> None:
        match message:
            case RequestChanged():
                self._journal.append(message)
                keep = (
                    self._requests.add if message.phase in ("queued", "running") else self._requests.discard
                )
                keep(message.id)
                self._changed()
            case GatewayReady():
                self.url = message.url
                for event in tuple(self._told.values()):
                    self.tell(event)
                self._changed()
            case Say():
                self._print(message.level, message.text)
            case Fatal():
                failure = message.failure
                self._fatal = self._failure(failure.cause, failure.remedy)
            case _:
                self._print(
                    "WARNING", f"the gateway sent a {type(message).__name__}, which only a rank sends"
                )

    def _print(self, level: Level, text: str) -> None:
        self._journal.append(LogLine(source="gateway", level=level, text=text))

    def _failure(self, cause: str, remedy: str) -> Failure:
        return RingError(cause, remedy, host=self._deployment.me.host).failure

"""The Textual app: joins one cluster with the panes. Owns the picture, the workers and the focus.

Knows the verbs of `console.ports.Cluster`, not how they are done; draws nothing itself.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import DescendantFocus, Resize
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import Worker, WorkerCancelled, WorkerState

from console.logs.narrate import narrate
from console.ports import Cluster, Emit
from console.screen.actions import ACTIONS, BY_ID, bindings
from console.screen.banner import Banner
from console.screen.bars import KeyBar, Tabs
from console.screen.dialogs import ConfirmStop, Help, HostDetails
from console.screen.header import Header
from console.screen.layout import PANES, layout_for
from console.screen.messages import ActRequested, DetailsAsked, PaneChosen
from console.screen.panes.hosts import HostsPane
from console.screen.panes.layers import LayersPane
from console.screen.panes.logs import LogsPane
from console.screen.panes.memory import MemoryPane
from console.screen.panes.pane import Pane
from console.screen.panes.prompt import PromptPane
from console.screen.picture import Picture, Verb
from console.state import apply, initial
from ringcore.spec.errors import Failure, MlxringError
from ringcore.spec.events import LogLine, Recorded, StepCount

DRAW_SECONDS = 0.1
WORK_SECONDS = 0.6  # counters come four times a second while they move


class ConsoleApp(App[None]):
    """The console of one ring.

    ``make_cluster`` gets the function to which the cluster hands every event. ``start``: start the
    ring first, then follow it. ``quit_stops_ring``: leaving ends the ring too. ``clock`` counts
    seconds and never goes back; it decides which ranks are drawn as being at work.
    """

    TITLE = "mlxring"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("app")]
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        make_cluster: Callable[[Emit], Cluster],
        *,
        start: bool = False,
        quit_stops_ring: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._cluster = make_cluster(self.receive)
        self._start = start
        self._quit_stops_ring = quit_stops_ring
        self._clock = clock
        self._moved: dict[int, float] = {}
        self._busy: Verb = ""
        self._attached = False
        self._leaving = False
        self._failure: Failure | None = None
        self._draw_timer: Timer | None = None
        self._rest_timer: Timer | None = None
        self._verb_worker: Worker[None] | None = None
        self._served = False
        self._zoomed = False
        self._pane = "hosts"
        self.state = initial(self._cluster.profile)
        ranks = len(self.state.hosts)
        self._logs = LogsPane(ranks, time.monotonic)
        self._prompt = PromptPane(self._cluster.chat)
        panes: tuple[Pane, ...] = (HostsPane(ranks), LayersPane(), MemoryPane(), self._logs, self._prompt)
        self._panes = {pane.NAME: pane for pane in panes}
        self._header, self._banner, self._tabs, self._keys = Header(), Banner(), Tabs(), KeyBar()
        self._left = Vertical(*panes[:-1], id="left")

    def compose(self) -> ComposeResult:
        yield self._header
        yield self._banner
        yield self._tabs
        yield Horizontal(self._left, self._prompt, id="body")
        yield self._keys

    def on_mount(self) -> None:
        self._arrange()
        self._focus("hosts")
        self._draw()
        if self._start:
            self._run_verb("start")
        else:
            self._reattach()

    async def on_unmount(self) -> None:
        await self._cluster.close()

    # events -------------------------------------------------------------------------------------

    def receive(self, record: Recorded) -> None:
        """Take in one event, from the app's own loop. Drawing follows, some ten times a second at most."""
        self._logs.push(narrate(self.state, record))
        before = self.state
        self.state = apply(before, record)
        if isinstance(record.event, StepCount):
            for old, new in zip(before.hosts, self.state.hosts, strict=True):
                if new.steps > old.steps:
                    self._moved[new.rank] = self._clock()
        self._draw_soon()

    @property
    def picture(self) -> Picture:
        now = self._clock()
        working = frozenset(rank for rank, at in self._moved.items() if now - at < WORK_SECONDS)
        return Picture(
            state=self.state,
            working=working,
            busy=self._busy,
            attached=self._attached,
            failure=self._failure,
        )

    @property
    def drawing(self) -> bool:
        """Something came that is not on the screen yet."""
        return self._draw_timer is not None

    def _draw_soon(self) -> None:
        if self._draw_timer is None and self.is_running and not self._leaving:
            self._draw_timer = self.set_timer(DRAW_SECONDS, self._draw)

    def _draw(self) -> None:
        self._draw_timer = None
        picture = self.picture
        for part in (self._header, self._banner, self._keys, *self._panes.values()):
            part.show(picture)
        if picture.working and self._rest_timer is None:
            # Nobody reports that a counter stands still: look again when the last move has aged.
            self._rest_timer = self.set_timer(WORK_SECONDS, self._rest)
        if picture.serving and not self._served:
            self._served = True
            if self._pane == "hosts" and len(self.screen_stack) == 1:
                self._focus("prompt")

    def _rest(self) -> None:
        self._rest_timer = None
        self._draw()

    # layout and focus ---------------------------------------------------------------------------

    def on_resize(self, event: Resize) -> None:
        self._arrange()
        self._draw_soon()

    def _arrange(self) -> None:
        layout = layout_for(self.size.width, self.size.height, self._zoomed)
        one = layout == "one"
        base = self.screen_stack[0]
        for name in ("one", "grid", "wide"):
            base.set_class(layout == name, f"-{name}")
        self._tabs.display = one
        self._tabs.choose(self._pane)
        for name, pane in self._panes.items():
            pane.display = not one or name == self._pane
        self._left.display = not one or self._pane != "prompt"

    def _focus(self, name: str) -> None:
        self._pane = name
        self._arrange()
        self._panes[name].target.focus()
        self._draw_soon()

    @on(DescendantFocus)
    def _focus_moved(self, event: DescendantFocus) -> None:
        pane = next((node for node in event.widget.ancestors if isinstance(node, Pane)), None)
        if pane is not None and self._pane != pane.NAME:
            self._pane = pane.NAME
            self._arrange()

    def action_focus_next(self) -> None:
        self._next_pane(1)

    def action_focus_previous(self) -> None:
        self._next_pane(-1)

    def _next_pane(self, by: int) -> None:
        if len(self.screen_stack) > 1:
            self.screen.focus_next() if by > 0 else self.screen.focus_previous()
        else:
            self._focus(PANES[(PANES.index(self._pane) + by) % len(PANES)])

    @on(PaneChosen)
    def _pane_chosen(self, message: PaneChosen) -> None:
        self._focus(message.name)

    # actions ------------------------------------------------------------------------------------

    @on(ActRequested)
    async def _act_requested(self, message: ActRequested) -> None:
        await self.action_act(message.id)

    async def action_act(self, id: str) -> None:
        """Do the action of the registry, or say why it makes no sense now."""
        action = BY_ID[id]
        if len(self.screen_stack) > 1:
            return
        reason = action.why_not(self.picture)
        if reason:
            self.notify(f"{action.label}: {reason}", severity="warning", markup=False, timeout=4)
            return
        if id.startswith("pane_"):
            self._focus(id.removeprefix("pane_"))
            return
        owner = self if action.scope == "app" else self._panes[action.scope]
        done = getattr(owner, f"do_{id}")()
        if done is not None:
            await done

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every action of the registry, then what Textual offers of its own."""
        for action in ACTIONS:
            if action.id != "palette":
                name = action.label[0].upper() + action.label[1:]
                yield SystemCommand(name, action.help, self._from_palette(action.id))
        for command in super().get_system_commands(screen):
            if command.title in ("Theme", "Screenshot"):
                yield command

    def _from_palette(self, id: str) -> Callable[[], object]:
        return lambda: self.call_later(self.action_act, id)

    def do_provision(self) -> None:
        self._run_verb("provision")

    def do_deploy(self) -> None:
        self._run_verb("deploy")

    def do_start(self) -> None:
        self._run_verb("start")

    def do_stop(self) -> None:
        def answered(stop: bool | None) -> None:
            if stop:
                self._run_verb("stop")

        self.push_screen(ConfirmStop(self.state.name, self._busy), answered)

    def do_refresh(self) -> None:
        self._failure = None
        self._reattach()

    def do_details(self) -> None:
        hosts = self._panes["hosts"]
        assert isinstance(hosts, HostsPane)
        self.push_screen(HostDetails(self.picture, hosts.chosen))

    @on(DetailsAsked)
    def _details_asked(self, message: DetailsAsked) -> None:
        self.push_screen(HostDetails(self.picture, message.rank))

    def do_next_pane(self) -> None:
        self._next_pane(1)

    def do_zoom(self) -> None:
        self._zoomed = not self._zoomed
        self._arrange()
        self._draw_soon()

    def do_filter(self) -> None:
        self._focus("logs")
        self._logs.do_filter()

    def do_help(self) -> None:
        self.push_screen(Help())

    def do_palette(self) -> None:
        self.action_command_palette()

    def do_quit(self) -> None:
        if self._leaving:
            self.exit()
            return
        self._leaving = True
        self.run_worker(self._leave(), group="leave", exit_on_error=False)

    async def action_quit(self) -> None:
        self.do_quit()

    # verbs of the cluster -----------------------------------------------------------------------

    def _run_verb(self, verb: Verb) -> None:
        self._failure = None
        self._verb_worker = self.run_worker(
            self._verb(verb, self._verb_worker), group="verb", name=verb, exit_on_error=False
        )

    async def _verb(self, verb: Verb, before: Worker[None] | None) -> None:
        await _broken_off(before)
        self._busy = verb
        self._draw_soon()
        try:
            await self._do(verb)
        except MlxringError as error:
            self._failed(verb, error.failure)
        else:
            if verb == "start":
                self._reattach()
            self.notify(f"{verb}: done", markup=False, timeout=3)
        finally:
            self._busy = ""
            self._draw_soon()

    async def _do(self, verb: Verb) -> None:
        match verb:
            case "provision":
                await self._cluster.provision()
            case "deploy":
                await self._cluster.deploy()
            case "start":
                await self._cluster.start()
            case "stop":
                await self._cluster.stop()
            case "":
                pass

    def _reattach(self) -> None:
        self.run_worker(self._follow(), group="follow", exclusive=True, exit_on_error=False)

    async def _follow(self) -> None:
        self._attached = True
        self._draw_soon()
        try:
            await self._cluster.follow()
        except MlxringError as error:
            self._failed("attach", error.failure)
        finally:
            self._attached = False
            self._draw_soon()

    def _failed(self, what: str, failure: Failure) -> None:
        self._failure = failure
        self.notify(str(failure), title=f"{what} failed", severity="error", markup=False, timeout=8)

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        """The edge where a defect of ours ends: it is shown and logged, and the screen stays."""
        if event.state is not WorkerState.ERROR:
            return
        error = event.worker.error
        cause = f"{event.worker.name}: {type(error).__name__}: {error}"
        self._failed("console", Failure(cause=cause, remedy="this is a defect of mlxring; the ring goes on"))
        line = LogLine(source="console", level="ERROR", text=cause)
        self.receive(Recorded(host=self.state.hosts[0].name, seq=0, time=time.time(), event=line))

    async def _leave(self) -> None:
        if self._busy:
            self.notify(f"Breaking off {self._busy}; q again leaves at once", markup=False)
            await _broken_off(self._verb_worker)
        message = None
        if self._quit_stops_ring:
            self.notify("Stopping the ring; q again leaves at once", markup=False, timeout=20)
            self._busy = "stop"
            self._header.show(self.picture)
            with suppress(MlxringError):
                await self._cluster.stop()
        elif self.picture.alive:
            ring = self._cluster.profile.path or self.state.name
            message = f"The ring {self.state.name} keeps serving. `mlxring {ring}` opens it again."
        self.exit(message=message)


async def _broken_off(worker: Worker[None] | None) -> None:
    """Cancel the worker and wait until it has cleared away after itself."""
    if worker is not None and not worker.is_finished:
        worker.cancel()
        with suppress(WorkerCancelled):
            await worker.wait()

"""The Textual app: joins one cluster with the panes. Owns the picture, when it is drawn, and the actions.

What the console does to the cluster is `console.screen.work`; where the operator is, `place`; what lies over
the panes, `detailing` and `splitting`; the end, `leaving`. Draws nothing itself.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.events import DescendantFocus, Resize
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import Worker, WorkerState

from console.logs.actions import ActionLine
from console.logs.narrate import failure_lines, narrate
from console.ports import Cluster, Emit
from console.reduce import apply
from console.screen.actions import ACTIONS, BY_ID, bindings
from console.screen.banner import Banner
from console.screen.bars import KeyBar, Tabs
from console.screen.body import Body
from console.screen.detailing import Detailing
from console.screen.dialogs import ConfirmStop, Help, Why
from console.screen.header import Header
from console.screen.leaving import Leaving
from console.screen.messages import ActRequested, DetailsAsked, PaneChosen, RetryAsked
from console.screen.moves import WORK_SECONDS, Moves
from console.screen.panes.hosts import HostsPane
from console.screen.panes.layers import LayersPane
from console.screen.panes.logs import LogsPane
from console.screen.panes.memory import MemoryPane
from console.screen.panes.prompt import PromptPane
from console.screen.picture import Picture
from console.screen.place import Place
from console.screen.splitting import Splitting
from console.screen.work import Work
from console.state import initial
from ringcore.spec.errors import Failure
from ringcore.spec.events import Recorded, RingChanged, StepCount

DRAW_SECONDS = 0.1


class ConsoleApp(App[None]):
    """The console of one ring.

    ``make_cluster`` gets the function to which the cluster hands every event. ``start``: start the
    ring first, then follow it. ``quit_stops_ring``: leaving ends the ring too. ``clock`` counts
    seconds and never goes back; it decides which ranks are drawn as being at work. ``audited``: commands
    that ran on a host, by its name, read in a thread.
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
        audited: Callable[[str], Sequence[ActionLine]] = lambda host: (),
    ) -> None:
        super().__init__()
        cluster = make_cluster(self.receive)
        profile = cluster.profile
        self._work = work = Work(self, cluster, self._draw_soon, self._log_failure)
        self._details = Detailing(self, cluster, audited, self._draw_soon)
        self._split = Splitting(self, cluster, work, lambda: self.picture, self._draw_soon)
        self._leaving = Leaving(self, profile, work, lambda: self.picture, stops_ring=quit_stops_ring)
        self._start = start
        self._moves = Moves(clock)
        self._draw_timer: Timer | None = None
        self._rest_timer: Timer | None = None
        self._served = False
        self.state = initial(profile)
        ranks = len(self.state.hosts)
        self._logs = LogsPane(ranks, time.monotonic)
        self._hosts = HostsPane(ranks)
        panes = (self._hosts, LayersPane(), MemoryPane(), self._logs, PromptPane(cluster.chat))
        self._body = Body(*panes)
        self._header, self._banner, self._tabs, self._keys = Header(), Banner(), Tabs(), KeyBar()
        self._place = Place(self, self._body, self._tabs, self._keys, self._draw_soon)

    def compose(self) -> ComposeResult:
        yield from (self._header, self._banner, self._tabs, self._body, self._keys)

    def on_mount(self) -> None:
        self._leaving.listen()
        self._place.go("hosts")
        self._draw()
        if self._start:
            self._work.run("start")
        else:
            self._work.attach()

    async def on_unmount(self) -> None:
        self._leaving.deafen()
        await self._work.close()

    # events -------------------------------------------------------------------------------------

    def receive(self, record: Recorded) -> None:
        """Take in one event, from the app's own loop. Drawing follows, some ten times a second at most."""
        self._logs.push(narrate(self.state, record))
        self._details.take(record)
        before = self.state
        self.state = apply(before, record)
        if isinstance(record.event, StepCount):
            self._moves.take(before, self.state)
        elif isinstance(record.event, RingChanged) and record.event.plan is not None:
            self._work.drafted = None  # the ring runs by its own
        self._draw_soon()

    @property
    def picture(self) -> Picture:
        return Picture(
            state=self.state,
            working=self._moves.working(self.state),
            busy=self._work.busy,
            attached=self._work.attached,
            failure=self._work.failure,
            drafted=self._work.drafted,
            chosen=self._hosts.chosen,
        )

    @property
    def drawing(self) -> bool:
        """Something came that is not on the screen yet."""
        return self._draw_timer is not None

    def _draw_soon(self) -> None:
        if self._draw_timer is None and self.is_running:
            self._draw_timer = self.set_timer(DRAW_SECONDS, self._draw)

    def _draw(self) -> None:
        self._draw_timer = None
        picture = self.picture
        for part in (self._header, self._banner, self._body, self._keys):
            part.show(picture)
        self._details.show(picture)
        if picture.working and self._rest_timer is None:
            # Nobody reports that a counter stands still: look again when the last move has aged.
            self._rest_timer = self.set_timer(WORK_SECONDS, self._rest)
        if picture.serving and not self._served:
            self._served = True
            if self._body.chosen == "hosts" and len(self.screen_stack) == 1:
                self._place.go("prompt")

    def _rest(self) -> None:
        self._rest_timer = None
        self._draw()

    # layout and focus ---------------------------------------------------------------------------

    def on_resize(self, event: Resize) -> None:
        self._place.arrange(event.size)  # `self.size` is still the old one
        self._draw_soon()

    @on(DescendantFocus)
    def _focus_moved(self, event: DescendantFocus) -> None:
        self._place.came(event.widget)

    def action_focus_next(self) -> None:
        self._place.go_beside(1)

    def action_focus_previous(self) -> None:
        self._place.go_beside(-1)

    @on(PaneChosen)
    def _pane_chosen(self, message: PaneChosen) -> None:
        self._place.go(message.name)

    # actions ------------------------------------------------------------------------------------

    @on(ActRequested)
    async def _act_requested(self, message: ActRequested) -> None:
        await self.action_act(message.id)

    async def action_act(self, id: str) -> None:
        """Do the action of the registry, or say why it makes no sense now."""
        action = BY_ID[id]
        reason = action.why_not(self.picture)
        if reason:
            self.notify(f"{action.label}: {reason}", severity="warning", markup=False, timeout=4)
            return
        if id.startswith("pane_"):
            self._place.go(id.removeprefix("pane_"))
            return
        owner = self if action.scope == "app" else self._body.panes[action.scope]
        done = getattr(owner, f"do_{id}")()
        if done is not None:
            await done

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every action of the registry, then what Textual offers of its own."""
        for action in ACTIONS:
            if action.id != "palette":
                yield SystemCommand(action.title, action.help, self._from_palette(action.id))
        for command in super().get_system_commands(screen):
            if command.title in ("Theme", "Screenshot"):
                yield command

    def _from_palette(self, id: str) -> Callable[[], object]:
        return lambda: self.call_later(self.action_act, id)

    def do_provision(self) -> None:
        self._work.run("provision")

    def do_deploy(self) -> None:
        self._work.run("deploy")

    def do_start(self) -> None:
        self._work.run("start")

    def do_stop(self) -> None:
        def answered(stop: bool | None) -> None:
            if stop:
                self._work.run("stop")

        self.push_screen(ConfirmStop(self.state.name, self._work.busy), answered)

    def do_why(self) -> None:
        failure = self.picture.shown_failure
        if failure is not None:
            self.push_screen(Why(failure))

    def do_edit_split(self) -> None:
        self._split.open()

    def do_refresh(self) -> None:
        self._work.retry()

    @on(DetailsAsked)
    def _details_asked(self, message: DetailsAsked) -> None:
        self._details.open(self.state.hosts[message.rank].name, self.picture)

    @on(RetryAsked)
    def _retry_asked(self, message: RetryAsked) -> None:
        host = self.state.hosts[message.rank]
        if host.lost:
            self._work.retry()
        else:
            self._work.retry_host(host.name, host.failed_step or host.step)

    def do_next_pane(self) -> None:
        self._place.go_beside(1)

    def do_zoom(self) -> None:
        self._place.zoom()

    def do_filter(self) -> None:
        self._place.go("logs")
        self._logs.do_filter()

    def do_help(self) -> None:
        self.push_screen(Help())

    def do_palette(self) -> None:
        self.action_command_palette()

    def do_quit(self) -> None:
        self._leaving.begin()

    async def action_quit(self) -> None:
        self.do_quit()

    # troubles -----------------------------------------------------------------------------------

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        """The edge where a defect of ours ends: it is shown and logged, and the screen stays."""
        if event.state is not WorkerState.ERROR:
            return
        error = event.worker.error
        cause = f"{event.worker.name}: {type(error).__name__}: {error}"
        remedy = "this is a defect of mlxring; the ring goes on"
        self._work.failed("console", Failure(cause=cause, remedy=remedy))

    def _log_failure(self, what: str, failure: Failure) -> None:
        self._logs.push(failure_lines(time.time(), what, failure))

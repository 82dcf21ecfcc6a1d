"""The Textual app: joins one cluster with the panes. Owns the picture, when it is drawn, and the focus.

What the console does to the cluster is `console.screen.work`; draws nothing itself.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.events import DescendantFocus, Resize
from textual.geometry import Size
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from console.logs.actions import ActionLine, ActionLog
from console.logs.narrate import failure_lines, narrate
from console.logs.text import safe_text
from console.ports import Cluster, Emit
from console.profile_edit import write_layers
from console.reduce import apply
from console.screen.actions import ACTIONS, BY_ID, bindings
from console.screen.banner import Banner
from console.screen.bars import KeyBar, Tabs
from console.screen.body import Body
from console.screen.dialogs import ConfirmStop, Help, Why
from console.screen.header import Header
from console.screen.host_details import HostDetails
from console.screen.messages import ActRequested, DetailsAsked, PaneChosen, RetryAsked
from console.screen.panes.hosts import HostsPane
from console.screen.panes.layers import LayersPane
from console.screen.panes.logs import LogsPane
from console.screen.panes.memory import MemoryPane
from console.screen.panes.prompt import PromptPane
from console.screen.picture import Picture
from console.screen.split_editor import SplitEditor, replanned, why_no_editor
from console.screen.work import Work
from console.state import initial
from ringcore.spec.errors import Failure, ProfileError
from ringcore.spec.events import Recorded, RingChanged, StepCount
from ringcore.spec.plan import Plan

DRAW_SECONDS = 0.1
AUDIT_SECONDS = 1.0
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
WORK_SECONDS = 0.6  # counters come four times a second while they move
WAYS_OUT = {"logs": "enter", "prompt": "tab"}  # of the inputs, by pane


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
        self._cluster = cluster = make_cluster(self.receive)
        self._actions = ActionLog()
        self._audited = audited
        self._profile = cluster.profile
        self._work = Work(self, cluster, self._draw_soon, self._log_failure)
        self._start = start
        self._quit_stops_ring = quit_stops_ring
        self._clock = clock
        self._moved: dict[int, float] = {}
        self._leaving = False
        self._draw_timer: Timer | None = None
        self._rest_timer: Timer | None = None
        self._served = False
        self.state = initial(self._profile)
        ranks = len(self.state.hosts)
        self._logs = LogsPane(ranks, time.monotonic)
        self._hosts = HostsPane(ranks)
        panes = (self._hosts, LayersPane(), MemoryPane(), self._logs, PromptPane(cluster.chat))
        self._body = Body(*panes)
        self._header, self._banner, self._tabs, self._keys = Header(), Banner(), Tabs(), KeyBar()

    def compose(self) -> ComposeResult:
        yield from (self._header, self._banner, self._tabs, self._body, self._keys)

    def on_mount(self) -> None:
        # Ended from outside, or its terminal closed: as if q had been pressed, so that a demo ends its ring.
        for number in ENDINGS:
            asyncio.get_running_loop().add_signal_handler(number, self.do_quit)
        self._arrange()
        self._focus("hosts")
        self._draw()
        if self._start:
            self._work.run("start")
        else:
            self._work.attach()

    async def on_unmount(self) -> None:
        for number in ENDINGS:
            asyncio.get_running_loop().remove_signal_handler(number)
        await self._work.close()

    # events -------------------------------------------------------------------------------------

    def receive(self, record: Recorded) -> None:
        """Take in one event, from the app's own loop. Drawing follows, some ten times a second at most."""
        self._logs.push(narrate(self.state, record))
        self._actions.take(record)
        before = self.state
        self.state = apply(before, record)
        if isinstance(record.event, StepCount):
            for old, new in zip(before.hosts, self.state.hosts, strict=True):
                if new.steps > old.steps:
                    self._moved[new.rank] = self._clock()
        elif isinstance(record.event, RingChanged) and record.event.plan is not None:
            self._work.drafted = None  # the ring runs by its own
        self._draw_soon()

    @property
    def picture(self) -> Picture:
        now = self._clock()
        moved = {rank for rank, at in self._moved.items() if now - at < WORK_SECONDS}
        able = {host.rank for host in self.state.hosts if host.phase == "ready" and not host.lost}
        return Picture(
            state=self.state,
            working=frozenset(moved & able),
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
        for screen in self.screen_stack:  # empty when the last drawing meets the end
            if isinstance(screen, HostDetails):
                self._show_details(screen, picture)
        if picture.working and self._rest_timer is None:
            # Nobody reports that a counter stands still: look again when the last move has aged.
            self._rest_timer = self.set_timer(WORK_SECONDS, self._rest)
        if picture.serving and not self._served:
            self._served = True
            if self._body.chosen == "hosts" and len(self.screen_stack) == 1:
                self._focus("prompt")

    def _rest(self) -> None:
        self._rest_timer = None
        self._draw()

    # layout and focus ---------------------------------------------------------------------------

    def on_resize(self, event: Resize) -> None:
        self._arrange(event.size)  # `self.size` is still the old one
        self._draw_soon()

    def _arrange(self, size: Size | None = None) -> None:
        width, height = size or self.size
        self._tabs.display = self._body.lay_out(width, height) == "one"
        self._tabs.choose(self._body.chosen)

    def _focus(self, name: str) -> None:
        self._body.chosen = name
        self._arrange()
        self._body.focus_chosen()
        self._draw_soon()

    @on(DescendantFocus)
    def _focus_moved(self, event: DescendantFocus) -> None:
        name = self._body.holding(event.widget)
        self._keys.typing(WAYS_OUT.get(name or "", "") if isinstance(event.widget, Input) else "")
        if name is not None and self._body.chosen != name:
            self._body.chosen = name
            self._arrange()

    def action_focus_next(self) -> None:
        self._next_pane(1)

    def action_focus_previous(self) -> None:
        self._next_pane(-1)

    def _next_pane(self, by: int) -> None:
        if len(self.screen_stack) > 1:
            self.screen.focus_next() if by > 0 else self.screen.focus_previous()
        else:
            self._focus(self._body.beside(by))

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
        reason = action.why_not(self.picture)
        if reason:
            self.notify(f"{action.label}: {reason}", severity="warning", markup=False, timeout=4)
            return
        if id.startswith("pane_"):
            self._focus(id.removeprefix("pane_"))
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
        if self.picture.plan is None:
            self._work.run("plan", then=self._edit_split)
        else:
            self._edit_split()

    def _edit_split(self) -> None:
        picture = self.picture
        plan = picture.plan
        if plan is None:
            return
        reason = why_no_editor(plan) or self._other_hosts(plan)
        if reason:
            self.notify(f"edit split: {reason}", severity="warning", markup=False, timeout=8)
            return
        note = "The ring runs: what you write counts from its next start." if picture.alive else ""
        profile = self._cluster.profile
        editor = SplitEditor(
            plan, self._write_layers, target=profile.path, by_hand=bool(profile.ring.layers), note=note
        )
        self.push_screen(editor)

    def _other_hosts(self, plan: Plan) -> str:
        names = [host.name for host in self._cluster.profile.hosts]
        if [stage.host for stage in plan.stages] == names:
            return ""
        return "the plan leaves out or reorders hosts of the profile; put them into that order there first"

    def _write_layers(self, layers: tuple[int, ...]) -> Failure | None:
        """Into the profile's file, and into the plan that the panes show until a ring runs."""
        try:
            self._cluster.profile = write_layers(self._cluster.profile, layers)
        except ProfileError as error:
            return error.failure
        plan = self.picture.plan
        self._work.drafted = replanned(plan, layers) if plan is not None and layers else None
        self._draw_soon()
        self.notify(
            f"{self._cluster.profile.path}: "
            + (f"layers = {list(layers)}" if layers else "the planner chooses the layers"),
            markup=False,
        )
        return None

    def do_refresh(self) -> None:
        self._work.retry()

    @on(DetailsAsked)
    def _details_asked(self, message: DetailsAsked) -> None:
        details = HostDetails(self.state.hosts[message.rank].name)
        self._show_details(details, self.picture)
        self.push_screen(details)
        self.run_worker(self._read_audit(details), group="audit", name="audit", exit_on_error=False)

    async def _read_audit(self, details: HostDetails) -> None:
        """Again whenever something was done meanwhile, until the details are closed."""
        seen = -1
        while details in self.screen_stack:
            done = len(self._actions.lines(details.host))
            if done != seen:
                seen = done
                details.audited = await asyncio.to_thread(self._audited, details.host)
                self._draw_soon()
            await asyncio.sleep(AUDIT_SECONDS)

    def _show_details(self, details: HostDetails, picture: Picture) -> None:
        facts = self._cluster.facts.get(details.host)
        details.show(picture, facts, self._actions.lines(details.host))

    @on(RetryAsked)
    def _retry_asked(self, message: RetryAsked) -> None:
        host = self.state.hosts[message.rank]
        if host.lost:
            self._work.retry()
        else:
            self._work.retry_host(host.name, host.failed_step or host.step)

    def do_next_pane(self) -> None:
        self._next_pane(1)

    def do_zoom(self) -> None:
        self._body.zoom()
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

    # troubles and the end -----------------------------------------------------------------------

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

    async def _leave(self) -> None:
        if self._work.busy:
            self.notify(f"Breaking off {self._work.busy}; q again leaves at once", markup=False)
            await self._work.break_off()
        if self._quit_stops_ring:
            self.notify("Stopping the ring; q again leaves at once", markup=False, timeout=20)
            failure = await self._work.stop_at_the_end()
            text = f"The ring {self.state.name} was not stopped. {failure}" if failure else ""
            self._end(text, failure.exit_code if failure else 0)
        elif self.picture.alive:
            ring = self._profile.path or self.state.name
            self._end(f"The ring {self.state.name} keeps serving. `mlxring {ring}` opens it again.")
        else:
            self._end()

    def _end(self, text: str = "", return_code: int = 0) -> None:
        message = Text(safe_text(text)) if text else None  # a string would be read as markup
        self.exit(message=message, return_code=return_code)

"""Every action of the screen, once: bindings, footer, help and command palette are made from this list.

Knows when an action makes sense, and why not; not how it is done (`ConsoleApp.do_*`, or the pane's).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from textual.binding import Binding

from console.logs.text import safe_line
from console.screen.layout import TITLES
from console.screen.picture import Picture

Scope = Literal["app", "hosts", "logs", "prompt"]


def _always(picture: Picture) -> str:
    return ""


def _change_hosts(picture: Picture) -> str:
    if picture.busy:
        return f"{picture.busy} is at work; wait for it, or break it off with x"
    if picture.alive:
        return "the ring runs; stop it first with x"
    return ""


def _stop(picture: Picture) -> str:
    if picture.busy == "stop":
        return "stop is at work already"
    seen = any(host.phase not in (None, "stopped") for host in picture.state.hosts)
    if picture.busy or picture.alive or seen or picture.shown_failure:
        return ""
    return "nothing runs; s starts the ring"


def _retry(picture: Picture) -> str:
    host = picture.state.hosts[picture.chosen]
    name = safe_line(host.name)
    if picture.busy:
        return f"{picture.busy} is at work; wait for it, or break it off with x"
    if host.lost:
        return ""
    if picture.alive:
        return "the ring runs; stop it first with x"
    if host.failure is None:
        return f"nothing failed on {name}"
    if host.phase == "failed" or host.step in ("start", "running"):
        return f"the rank on {name} is part of the whole ring: s starts all of them"
    if host.step == "deploy":
        return "all hosts get one deployment together: d deploys, s starts"
    return ""


def _why(picture: Picture) -> str:
    return "" if picture.shown_failure else "nothing failed"


def _edit(picture: Picture) -> str:
    return f"{picture.busy} is at work; wait for it, or break it off with x" if picture.busy else ""


def _refresh(picture: Picture) -> str:
    return f"{picture.busy} is at work; it attaches by itself" if picture.busy else ""


class Action(NamedTuple):
    """``keys`` as Textual names them, separated by commas; the first one is shown as ``key``.

    ``footer``: rank among the hints at the bottom, 0 for none; low numbers stay longest when narrow.
    ``why_not`` returns the reason why the action makes no sense now, or "".
    """

    id: str
    keys: str
    key: str
    label: str
    help: str
    scope: Scope = "app"
    footer: int = 0
    why_not: Callable[[Picture], str] = _always

    @property
    def title(self) -> str:
        """The name in the palette; what belongs to one pane says so."""
        return self.label.capitalize() if self.scope == "app" else f"{TITLES[self.scope]}: {self.label}"


ACTIONS: tuple[Action, ...] = (
    Action(
        "provision", "p", "p", "provision", "Install on every host what it needs",
        footer=4, why_not=_change_hosts,
    ),
    Action(
        "deploy", "d", "d", "deploy", "Plan the layers and write the deployment on every host",
        footer=5, why_not=_change_hosts,
    ),
    Action(
        "start", "s", "s", "start", "Start the ring; provisions and deploys what is missing",
        footer=1, why_not=_change_hosts,
    ),
    Action("stop", "x", "x", "stop", "End the ring on every host; asks first", footer=2, why_not=_stop),
    Action("refresh", "a", "a", "attach", "Attach again to the agents that run", footer=10, why_not=_refresh),
    Action(
        "edit_split", "e", "e", "edit split", "Move the boundaries between ranks and see what that brings",
        footer=11, why_not=_edit,
    ),
    Action("pane_hosts", "1", "1", "Hosts", "Go to the hosts"),
    Action("pane_layers", "2", "2", "Layer map", "Go to the layer map"),
    Action("pane_memory", "3", "3", "Memory", "Go to the memory of each rank"),
    Action("pane_logs", "4", "4", "Logs", "Go to the logs"),
    Action("pane_prompt", "5", "5", "Prompt", "Go to the prompt and type"),
    Action("next_pane", "tab", "tab", "next pane", "Go to the next pane (shift+tab: the one before)"),
    Action("zoom", "z", "z", "zoom", "Give the pane the whole screen, or give it back", footer=9),
    Action("filter", "slash", "/", "filter", "Show only log lines with a text, whatever its case", footer=6),
    Action("why", "w", "w", "why", "Read all of what failed, and the remedy", why_not=_why),
    Action("help", "question_mark", "?", "help", "Show the keys", footer=3),
    Action("palette", "", "^p", "palette", "Find any action by name (ctrl+p)", footer=8),
    Action("quit", "q", "q", "quit", "Leave the console; the ring keeps serving", footer=7),
    Action("details", "enter", "enter", "details", "Everything known about the chosen host", scope="hosts"),
    Action(
        "retry", "r", "r", "retry", "Do again what failed on the chosen host alone", scope="hosts",
        why_not=_retry,
    ),
    Action("follow", "f,end", "f", "follow", "Pause, or jump to the newest line and follow", scope="logs"),
    Action("one_rank", "n", "n", "rank", "Only the next rank's lines; after the last, all", scope="logs"),
    Action("copy", "c", "c", "copy", "Copy the selected lines, or all that are in view", scope="logs"),
    Action("unfilter", "escape", "esc", "no filter", "Show all lines again", scope="logs"),
    Action(
        "cancel", "escape", "esc", "cancel", "Break off the answer; without one, leave the input",
        scope="prompt",
    ),
    Action("fresh", "ctrl+l", "^l", "new", "Forget the conversation and begin a new one", scope="prompt"),
    Action(
        "copy_answer", "ctrl+y", "^y", "copy", "Copy the last answer", scope="prompt",
    ),
)  # fmt: skip

BY_ID = {action.id: action for action in ACTIONS}
IN_SUBTITLE: dict[Scope, tuple[str, ...]] = {
    "app": (),
    "hosts": ("details", "retry"),
    "logs": ("follow", "one_rank", "copy"),
    "prompt": ("cancel", "fresh", "copy_answer"),
}


def bindings(scope: Scope) -> list[Binding]:
    """Textual's bindings for one scope; each runs the registered action by its id."""
    return [
        Binding(action.keys, f"app.act('{action.id}')", action.label, show=False)
        for action in ACTIONS
        if action.scope == scope and action.keys and action.id != "next_pane"
    ]


def hints(scope: Scope, **labels: str) -> str:
    """``key label`` of a pane's own actions, for its lower border; ``labels`` say what they would do now."""
    return "  ".join(f"{BY_ID[id].key} {labels.get(id, BY_ID[id].label)}" for id in IN_SUBTITLE[scope])

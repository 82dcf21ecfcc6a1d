"""Opens the editor of the split over the plan, or says why there is none; writes what was chosen.

Knows the profile and the verbs' work, not how a split is drawn (`console.screen.split_editor`).
"""

from collections.abc import Callable, Sequence

from textual.app import App

from console.ports import Cluster
from console.profile_edit import write_layers
from console.screen.picture import Picture
from console.screen.split_editor import SplitEditor, replanned, why_no_editor
from console.screen.work import Work
from ringcore.spec.errors import Failure, ProfileError
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile


class Splitting:
    """``picture`` gives what is known now; ``changed`` is called when the panes have another plan to show."""

    def __init__(
        self,
        app: App[None],
        cluster: Cluster,
        work: Work,
        picture: Callable[[], Picture],
        changed: Callable[[], None],
    ) -> None:
        self._app = app
        self._cluster = cluster
        self._work = work
        self._picture = picture
        self._changed = changed

    def open(self) -> None:
        """Over the plan that is there; where there is none yet, one is made first."""
        if self._picture().plan is None:
            self._work.run("plan", then=self._open)
        else:
            self._open()

    def _open(self) -> None:
        picture = self._picture()
        plan = picture.plan
        if plan is None:
            return
        profile = self._cluster.profile
        reason = why_other_hosts(plan, profile) or why_no_editor(plan)
        if reason:
            self._app.notify(f"edit split: {reason}", severity="warning", markup=False, timeout=15)
            return
        note = "The ring runs: what you write counts from its next start." if picture.alive else ""
        editor = SplitEditor(
            plan, self._write, target=profile.path, by_hand=bool(profile.ring.layers), note=note
        )
        self._app.push_screen(editor)

    def _write(self, layers: tuple[int, ...]) -> Failure | None:
        """Into the profile's file, and into the plan that the panes show until a ring runs."""
        try:
            self._cluster.profile = write_layers(self._cluster.profile, layers)
        except ProfileError as error:
            return error.failure
        plan = self._picture().plan
        self._work.drafted = replanned(plan, layers) if plan is not None and layers else None
        self._changed()
        self._app.notify(
            f"{self._cluster.profile.path}: "
            + (f"layers = {list(layers)}" if layers else "the planner chooses the layers"),
            markup=False,
        )
        return None


def why_other_hosts(plan: Plan, profile: Profile) -> str:
    """Layers by hand are counted by all hosts of the profile in its order: which of these the plan has
    otherwise, and what to write; or ""."""
    names, seated = [host.name for host in profile.hosts], [stage.host for stage in plan.stages]
    if seated == names:
        return ""
    unknown = [name for name in seated if name not in names]
    if unknown:
        return (
            f"the plan names {_listed(unknown)}, which the profile does not have: "
            "d plans for the hosts that it has"
        )
    wanted: list[str] = []
    left = [name for name in names if name not in seated]
    if left:
        wanted.append(
            f"objective {profile.ring.objective} leaves out {_listed(left)}: take {_those(left)} out of the "
            'profile, or write objective = "throughput" under [ring]'
        )
    if seated != [name for name in names if name in seated]:
        wanted.append(
            f"the planner arranged the hosts as {_listed(seated)}: write them in this order into the "
            "profile, and arrange = false under [ring]"
        )
    return "; ".join(wanted) + ". Then open the console again"


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _those(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"

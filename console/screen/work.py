"""The operator's verbs as the app's workers: one at a time, each can be broken off, none outlives the app.

Knows the verbs of `console.ports.Cluster`, not how they are done, and no pane.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from textual.app import App
from textual.worker import Worker, WorkerCancelled, WorkerFailed

from console.ports import Cluster
from console.screen.picture import Verb
from ringcore.spec.errors import Failure, MlxringError
from ringcore.spec.events import HostStepName
from ringcore.spec.plan import Plan

CLOSE_SECONDS = 5.0
Doing = Literal["plan", "provision", "deploy", "start", "stop"]


class Work:
    """What the console itself is doing. ``changed`` is called whenever one of the values below did,
    ``tell`` with what failed and why.

    ``busy``: the verb at work. ``attached``: the agents are followed. ``failure``: why the last verb
    failed; it stays until the next one begins. ``drafted``: the plan that was made last, until a ring runs.
    """

    def __init__(
        self,
        app: App[None],
        cluster: Cluster,
        changed: Callable[[], None],
        tell: Callable[[str, Failure], None],
    ) -> None:
        self.busy: Verb = ""
        self.attached = False
        self.failure: Failure | None = None
        self.drafted: Plan | None = None
        self._app = app
        self._cluster = cluster
        self._changed = changed
        self._tell = tell
        self._verb_worker: Worker[None] | None = None
        self._follow_worker: Worker[None] | None = None

    def run(self, verb: Doing, then: Callable[[], None] | None = None) -> None:
        """Begin the verb; one that is at work is broken off first. ``then``: what follows when it is done,
        instead of saying so."""
        self._begin(verb, verb, lambda: self._act(verb), then)

    def retry_host(self, name: str, failed: HostStepName) -> None:
        """Do again for one host the step that failed there."""
        self._begin("retry", f"retry {name}", lambda: self._cluster.retry(name, failed))

    def _begin(
        self,
        verb: Verb,
        label: str,
        act: Callable[[], Awaitable[object]],
        then: Callable[[], None] | None = None,
    ) -> None:
        self.failure = None
        self._verb_worker = self._app.run_worker(
            self._verb(verb, label, act, then, self._verb_worker),
            group="verb",
            name=label,
            exit_on_error=False,
        )

    def attach(self) -> None:
        """Follow the agents that run, from where we left off."""
        self._follow_worker = self._app.run_worker(
            self._follow(self._follow_worker), group="follow", name="attach", exit_on_error=False
        )

    def retry(self) -> None:
        """Attach again because the operator wants it: what failed before is acted upon."""
        self.failure = None
        self.attach()

    def failed(self, what: str, failure: Failure) -> None:
        """Tell it, and keep it until the next verb begins."""
        self.failure = failure
        self._tell(what, failure)
        self._changed()

    async def break_off(self) -> None:
        """Cancel the verb at work and wait until it has cleared away after itself."""
        await _broken_off(self._verb_worker)

    async def stop_at_the_end(self) -> Failure | None:
        """End the ring because the console ends. Returns why it could not be ended."""
        self.busy = "stop"
        self._changed()
        try:
            await self._cluster.stop()
        except MlxringError as error:
            return error.failure
        return None

    async def close(self) -> None:
        """Drop the connections; one that does not let go is left behind."""
        with suppress(TimeoutError, MlxringError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._cluster.close()

    async def _verb(
        self,
        verb: Verb,
        label: str,
        act: Callable[[], Awaitable[object]],
        then: Callable[[], None] | None,
        before: Worker[None] | None,
    ) -> None:
        await _broken_off(before)
        self.busy = verb
        self._changed()
        try:
            made = await act()
        except MlxringError as error:
            self.failed(label, error.failure)
        else:
            if isinstance(made, Plan):
                self.drafted = made
            if verb == "start":
                self.attach()
            if then is None:
                self._app.notify(f"{label}: done", markup=False, timeout=3)
            else:
                self._app.call_later(then)  # when the verb is no longer at work
        finally:
            self.busy = ""
            self._changed()

    def _act(self, verb: Doing) -> Awaitable[object]:
        match verb:
            case "plan":
                return self._cluster.plan()
            case "provision":
                return self._cluster.provision()
            case "deploy":
                return self._cluster.deploy()
            case "start":
                return self._cluster.start()
            case "stop":
                return self._cluster.stop()

    async def _follow(self, before: Worker[None] | None) -> None:
        # Two followers at once would take each other's events: the one before ends first.
        await _broken_off(before)
        self.attached = True
        self._changed()
        try:
            await self._cluster.follow()
        except MlxringError as error:
            self.failed("attach", error.failure)
        finally:
            self.attached = False
            self._changed()


async def _broken_off(worker: Worker[None] | None) -> None:
    if worker is not None and not worker.is_finished:
        worker.cancel()
        with suppress(WorkerCancelled, WorkerFailed):
            await worker.wait()

"""What every command that meets a cluster shares: arguments, the event loop, progress on stderr."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from console.logs.text import safe_line, safe_text
from console.reduce import apply
from console.state import ClusterState, initial
from ringcore.spec.events import HostStep, LogLine, RankChanged, Recorded, RingChanged

if TYPE_CHECKING:
    from console.cluster.operator import Operator
    from ringcore.spec.profile import Profile


def configure_profile(parser: argparse.ArgumentParser, *, json: bool = True) -> None:
    """The PROFILE argument and, where the command answers something, ``--json``."""
    parser.add_argument("profile", type=Path, metavar="PROFILE", help="the ring's TOML file")
    parser.add_argument(
        "--accept-new-host-keys",
        action="store_true",
        help="trust and keep the keys of hosts met for the first time, unasked",
    )
    if json:
        parser.add_argument("--json", action="store_true", help="the answer as JSON on stdout")


class Session:
    """One command over one cluster. ``state`` is reduced from every event that came by."""

    def __init__(
        self, profile: "Profile", *, quiet: bool = False, accept_new_host_keys: bool = False
    ) -> None:
        self.profile = profile
        self.accept_new_host_keys = accept_new_host_keys
        self.state: ClusterState = initial(profile)
        self.watchers: list[Callable[[Recorded], None]] = [] if quiet else [Progress()]
        self.operator: Operator

    def emit(self, record: Recorded) -> None:
        self.state = apply(self.state, record)
        for watch in self.watchers:
            watch(record)


class Progress:
    """One line on stderr for each step that begins or fails, and each phase of ring and ranks."""

    def __call__(self, record: Recorded) -> None:
        event = record.event
        text = ""
        if isinstance(event, HostStep) and event.status in ("active", "failed"):
            said = (event.detail, event.command) if event.step == "weights" else (event.command, event.detail)
            note = event.failure.cause if event.failure else said[0] or said[1]
            text = f"{event.step:<9} {'FAILED: ' if event.failure else ''}{note}"
        elif isinstance(event, RankChanged):
            note = event.failure.cause if event.failure else event.detail
            text = f"rank {event.rank}    {event.phase} {note}"
        elif isinstance(event, RingChanged):
            text = f"ring      {event.phase} {event.api_url}"
        elif isinstance(event, LogLine) and (event.level == "ERROR" or event.source == "console"):
            text = f"{'note' if event.source == 'console' else 'log':<9} {safe_line(event.text)}"
        if text:
            sys.stderr.write(f"{record.host:<12} {safe_line(text).rstrip()}\n")


def with_cluster(
    arguments: argparse.Namespace,
    act: Callable[[Session], Awaitable[int]],
    *,
    quiet: bool = False,
) -> int:
    """Load the profile, connect nothing yet, run ``act``, close the connections. Its exit code."""
    from ringcore.spec.profile_file import load_profile

    profile = load_profile(arguments.profile)
    accept = bool(arguments.accept_new_host_keys)
    return run_session(Session(profile, quiet=quiet, accept_new_host_keys=accept), act)


def run_session(session: Session, act: Callable[[Session], Awaitable[int]]) -> int:
    """`with_cluster` for a profile that is already there. SIGTERM ends it as ctrl+c does."""

    async def main() -> int:
        from console.commands.terminal import terminal
        from console.compose import operator_for

        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        session.operator = operator_for(
            session.profile,
            session.emit,
            terminal(),
            accept_new_host_keys=session.accept_new_host_keys,
        )
        try:
            return await act(session)
        finally:
            await session.operator.close()

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def answer(data: object) -> None:
    """One JSON document on stdout."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n")


def say(text: str) -> None:
    """Lines of the answer on stdout. They may tell what a host said."""
    sys.stdout.write(safe_text(text) + "\n")

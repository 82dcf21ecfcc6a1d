"""Ends a ring on its hosts and, when asked, removes everything of ours there."""

import re
from collections.abc import Callable

from console.cluster import remote
from console.cluster.host import Host
from console.cluster.remote import (
    DEFAULT_HOME,
    NOT_ALL_OURS,
    NOT_DEPLOYED,
    NOT_OURS,
    RUNS_ANOTHER,
    end_without_code,
    launch,
    purge,
)
from console.logs.text import safe_line
from ringcore.spec.errors import ProvisionError, RingError

# what a shell and Python say where the interpreter or the code is gone
_NOT_RUN = 126
_DAMAGED = re.compile(r"No module named|Traceback \(most recent call last\)")


async def reap(host: Host, ring: str) -> None:
    """Ends whatever of ``ring`` is left on ``host``, whether or not its agent still answers, and whether or
    not what it was started from is still whole."""
    result = await host.run(launch(host.options.home, ring, "reap"), timeout=15)
    if result.status >= _NOT_RUN or _DAMAGED.search(result.stderr):
        result = await host.run(end_without_code(host.options.home, ring), timeout=20)
    if result.status not in (0, NOT_DEPLOYED):
        raise RingError(
            f"could not make sure that nothing of {ring} is left: {result.stderr.strip()[-300:]}",
            "look for processes `python -m ringcore` on this host",
            host=host.options.name,
        )


async def clear_prefixes(host: Host, ring: str) -> None:
    """Removes the files in which ``ring`` kept what earlier sequences computed."""
    result = await host.run(remote.clear_prefixes(host.options.home, ring), timeout=60)
    if result.status != 0:
        raise ProvisionError(
            f"files of the prefix cache could not be removed: {safe_line(result.stderr.strip()[-300:])}",
            f"remove the folder `prefix` in the run folder of {ring} by hand",
            host=host.options.name,
        )


async def purge_home(host: Host) -> None:
    """Removes what is ours in the home folder, and the folder.

    Raises `ProvisionError` where something is left: all of a folder that has no marker of ours or that rings
    run from, and in any folder what is not ours."""
    home = host.options.home or DEFAULT_HOME
    result = await host.run(purge(host.options.home), timeout=120)
    said = ", ".join(safe_line(line) for line in result.stdout.strip().splitlines()[:8])
    say: Callable[[str, str], ProvisionError] = lambda cause, remedy: ProvisionError(  # noqa: E731
        cause, remedy, host=host.options.name
    )
    match result.status:
        case 0:
            return
        case status if status == NOT_OURS:
            raise say(
                f"{home} has no marker file of mlxring, so it was left as it is",
                "look into it and remove it by hand",
            )
        case status if status == RUNS_ANOTHER:
            raise say(
                f"nothing in {home} was removed: rings run from it: {said}",
                "end them first with `mlxring down` and their own profiles",
            )
        case status if status == NOT_ALL_OURS:
            raise say(
                f"what mlxring put into {home} was removed; these are not its own and were left: {said}",
                "look into the folder and remove it by hand",
            )
        case _:
            raise say(f"purge failed: {result.stderr.strip()[-300:]}", "remove the folder by hand")

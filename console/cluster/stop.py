"""Ends a ring on its hosts and, when asked, removes everything of ours there."""

from console.cluster.host import Host
from console.cluster.remote import NOT_DEPLOYED, NOT_OURS, launch, purge
from ringcore.spec.errors import ProvisionError, RingError


async def reap(host: Host, ring: str) -> None:
    """Ends whatever of ``ring`` is left on ``host``, whether or not its agent still answers."""
    result = await host.run(launch(host.options.home, ring, "reap"), timeout=15)
    if result.status not in (0, NOT_DEPLOYED):
        raise RingError(
            f"could not make sure that nothing of {ring} is left: {result.stderr.strip()[-300:]}",
            "look for processes `python -m ringcore` on this host",
            host=host.options.name,
        )


async def purge_home(host: Host) -> None:
    """Removes the home folder; refuses one without our marker."""
    result = await host.run(purge(host.options.home), timeout=60)
    if result.status == NOT_OURS:
        raise ProvisionError(
            f"{host.options.home or '~/.mlxring'} has no marker file of mlxring, so it was left as it is",
            "look into it and remove it by hand",
            host=host.options.name,
        )
    if result.status != 0:
        raise ProvisionError(
            f"purge failed: {result.stderr.strip()[-300:]}",
            "remove the folder by hand",
            host=host.options.name,
        )

"""The profile of the demo: ranks on this machine, on ports that are free now."""

import random
import socket
import sys

from ringcore.spec.profile import DEMO_MODEL, LOCAL, ApiOptions, HostOptions, Profile, RingOptions

# Below what systems give to outgoing connections, which could take a port before the ring does.
_PORTS = range(20_000, 30_000)


def demo_profile(ranks: int) -> Profile:
    """A profile of ``ranks`` local hosts that use this very interpreter."""
    port = _free_ports(ranks + 1)
    return Profile(
        name="demo",
        model=DEMO_MODEL,
        hosts=tuple(
            HostOptions(name=f"host{n + 1}", ssh=LOCAL, address="127.0.0.1", python=sys.executable)
            for n in range(ranks)
        ),
        ring=RingOptions(port=port, context=2048),
        api=ApiOptions(port=_free_ports(1, apart_from=range(port, port + ranks + 1))),
    )


def _free_ports(count: int, apart_from: range = range(0)) -> int:
    """The first of ``count`` consecutive loopback ports that are free now."""
    while True:
        first = random.randrange(_PORTS.start, _PORTS.stop - count)
        wanted = range(first, first + count)
        if not set(wanted) & set(apart_from) and all(map(_free, wanted)):
            return first


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

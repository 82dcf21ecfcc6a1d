"""Before an agent says that it runs: are this host's address and ports to be had?"""

import errno
import socket

from ringcore.spec.deployment import Deployment
from ringcore.spec.errors import RingError


def check_network(deployment: Deployment) -> None:
    """Raises `RingError` naming the address or port, the host, and what to do."""
    me = deployment.me
    if len(deployment.members) > 1:
        _free(me.address, me.link_port, "the ring's link", "ring.port", me.host)
    if deployment.is_leader:
        _free(deployment.api_bind, deployment.api_port, "the API", "[api] port", me.host)


def _free(address: str, port: int, use: str, key: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise RingError(
                    f"{address} is not an address of this host, {use} cannot listen there",
                    "write hosts.address as `ip addr` or `ifconfig` on the host shows it",
                    host=host,
                ) from None
            raise RingError(
                f"{use} cannot listen on {address}:{port}: {error.strerror or error}",
                f"end what uses that port (`lsof -i :{port}`), or set another {key} in the profile",
                host=host,
            ) from None

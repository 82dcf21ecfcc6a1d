"""An SSH server in a process of its own, for hosts that are reached with ``~/.ssh`` and a port.

``python -m tests.whole.server HOME SSH``: its keys, known host and port go into the folder SSH. Logins find
the interpreter that the virtual environment was made from, which has none of our packages.
"""

import asyncio
import sys
from pathlib import Path

from console.cluster.target import Target
from console.demo.hosts import environment
from console.demo.server import EmbeddedServer


async def main(home: Path, ssh: Path) -> None:
    path = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    target = await EmbeddedServer(home, environment(home) | {"PATH": path}).start()
    await asyncio.to_thread(tell, target, ssh)
    await asyncio.Event().wait()


def tell(target: Target, ssh: Path) -> None:
    assert target.known_hosts is not None and target.client_key is not None
    (ssh / "known_hosts").write_bytes(target.known_hosts + b"\n")
    (ssh / "id_ed25519").write_bytes(target.client_key)
    (ssh / "id_ed25519").chmod(0o600)
    (ssh / "port").write_text(f"{target.user} {target.port}")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(place, Path(sys.argv[2])))

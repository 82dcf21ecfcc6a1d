"""Whether this machine can carry the hosts of the tests, and how programs are started on it.

Nothing is set up that outlives the processes: namespaces have no names, users are seen only on their host.
"""

import os
import shutil
import subprocess
from pathlib import Path

_PROGRAMS = {
    "/usr/sbin/sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "ssh-agent": "openssh-client",
    "openssl": "openssl",
    "ip": "iproute2",
    "nft": "nftables",
    "fish": "fish",
    "/usr/lib/systemd/systemd": "systemd",
    "dash": "dash",
    "bash": "bash",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
# a process started with this ends when the test run does, however that ends
TIED = ("setpriv", "--pdeathsig", "KILL", "--")


def missing() -> str:
    """What must be there before the tests marked ``hosts`` can run; "" when nothing is missing."""
    if os.geteuid() != 0:
        return (
            "the tests marked `hosts` make network namespaces: run them as root, or without (-m 'not hosts')"
        )
    packages = {package for name, package in _PROGRAMS.items() if not shutil.which(name)}
    if packages:
        return f"the tests marked `hosts` need: apt-get install {' '.join(sorted(packages))}"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    if tried.returncode:
        return (
            f"no namespaces can be made here ({tried.stderr.strip()}): a container must be a privileged one"
        )
    return ""


def command(*words: str, timeout: float = 20) -> str:
    """A command to its end; its output. Fails with what it said."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


def key_pair(path: Path, kind: str = "ed25519", passphrase: str = "") -> None:
    """A new key at ``path``, in the place of one that is there."""
    path.unlink(missing_ok=True)
    command("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path))

"""One host: namespaces, a user with a home and a shell, and OpenSSH's server. Can lose its power.

Owns the host's processes and its folder; which networks it is on, and who may log in, is said to it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.hosts import init
from tests.hosts.needs import TIED, command, key_pair
from tests.whole.harness import seen, until

_INSIDE = ("--mount", "--pid", "--uts", "--ipc")
_ETC = {
    "passwd": "{user}:x:{uid}:{uid}::/home/{user}:{shell}\n",
    "group": "{user}:x:{uid}:\n",
    "shadow": "{user}:*:19700:0:99999:7:::\n",
}
# of each keyword, what comes first counts
_SSHD = """\
{more}
ListenAddress {listen}
{keys}
UsePAM no
PasswordAuthentication no
SetEnv PATH={path} {environment}
PidFile none
LogLevel VERBOSE
"""


@dataclass
class Machine:
    """``files`` go into the home; ``sshd`` is more of its configuration. ``online``: on our own network.

    ``environment``: what sessions find there, as words of SetEnv.
    """

    name: str
    folder: Path
    shell: str
    model: Path
    uid: int
    files: dict[str, str] = field(default_factory=dict)
    sshd: str = ""
    key_kinds: tuple[str, ...] = ("ed25519",)
    listen: str = "0.0.0.0"
    online: bool = False
    environment: str = ""

    def __post_init__(self) -> None:
        self.user = f"op-{self.name}"
        self.home = self.folder / "home"
        self._server: subprocess.Popen[bytes] | None = None
        self._manager: subprocess.Popen[bytes] | None = None
        self._write()
        self._boot()

    # life ----------------------------------------------------------------------------------------
    def _write(self) -> None:
        (self.folder / "etc").mkdir(parents=True)
        for name, line in _ETC.items():
            text = Path("/etc", name).read_text() + line.format(**vars(self))
            (self.folder / "etc" / name).write_text(text)
        (self.folder / "etc" / "hostname").write_text(f"{self.name}\n")
        for name, text in {".ssh/authorized_keys": "", **self.files}.items():
            file = self.home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for place in (self.home, *self.home.rglob("*")):
            os.chown(place, self.uid, self.uid)
        self.new_host_keys()
        self.configure(self.sshd)

    def new_host_keys(self) -> None:
        """As when the host is installed anew; the server shows them when it starts."""
        for kind in self.key_kinds:
            key_pair(self.folder / f"key_{kind}", kind)

    def configure(self, more: str = "") -> None:
        """Writes the server's configuration; it is read when the server starts."""
        keys = "\n".join(f"HostKey {init.STAGE}/machine/key_{kind}" for kind in self.key_kinds)
        path = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        text = _SSHD.format(listen=self.listen, keys=keys, path=path, environment=self.environment, more=more)
        (self.folder / "sshd_config").write_text(text)

    def _boot(self) -> None:
        spec = {
            "hostname": self.name,
            "user": self.user,
            "folder": str(self.folder),
            "own_network": not self.online,
            "reveal": [sys.prefix, str(Path(sys.executable).resolve().parents[1]), str(self.model)],
        }
        net = () if self.online else ("--net",)
        self._holder = subprocess.Popen(
            [*TIED, "unshare", *_INSIDE, *net, "--fork", "--kill-child", "--mount-proc", "--",
             sys.executable, "-I", init.__file__, json.dumps(spec)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            self._come_up()
        except BaseException:
            self.close()
            raise

    def _come_up(self) -> None:
        assert self._holder.stdout is not None
        with self._holder.stdout as said:
            assert said.readline() == "ready\n", f"{self.name} did not come up"
        self.pid = psutil.Process(self._holder.pid).children()[0].pid
        self._space = Path(f"/proc/{self.pid}/ns/pid").readlink()
        if not self.online:
            self.run("ip", "link", "set", "lo", "up")
        self.start_sshd()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(10)
        if self._server:
            self._server.wait(10)
        shutil.rmtree(self.home)

    # SSH -----------------------------------------------------------------------------------------
    def start_sshd(self) -> None:
        with (self.folder / "sshd.log").open("ab") as log:
            self._server = subprocess.Popen(
                [*self._enter(), "/usr/sbin/sshd", "-D", "-e", "-f", f"{init.STAGE}/machine/sshd_config"],
                stdin=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        listens = f"{bytes(reversed(socket.inet_aton(self.listen))).hex().upper()}:0016 00000000:0000 0A"
        until(lambda: listens in self.sockets(), 10, lambda: f"sshd of {self.name}: {self.log()}")

    def stop_sshd(self) -> None:
        """The server and its sessions' processes of its own; what users have started is left alone."""
        self._kill(lambda process: process.info["name"].startswith("sshd"))

    def restart_sshd(self, more: str | None = None) -> None:
        self.configure(self.sshd if more is None else more)
        self.stop_sshd()
        self.start_sshd()

    def authorize(self, *keys: Path) -> None:
        text = "".join(key.with_suffix(".pub").read_text() for key in keys)
        (self.home / ".ssh" / "authorized_keys").write_text(text)

    def set_password(self, password: str) -> None:
        """For the account; "" locks it again. Whether it may be used is up to the server's configuration."""
        hashed = command("openssl", "passwd", "-6", password).strip() if password else "*"
        file = self.folder / "etc" / "shadow"
        lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{self.user}:")]
        file.write_text("\n".join([*lines, f"{self.user}:{hashed}:19700:0:99999:7:::"]) + "\n")

    def public_key(self, kind: str = "ed25519") -> str:
        """``TYPE BASE64`` of the host key."""
        return " ".join((self.folder / f"key_{kind}.pub").read_text().split()[:2])

    def start_user_manager(self) -> None:
        """systemd for the host's user, as logind starts it at boot where lingering is on."""
        groups, runtime = f"/sys/fs/cgroup/mlxring-{self.name}", f"/run/user/{self.uid}"
        self.run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
        self.run("mkdir", "-p", groups, "/run/systemd/system", runtime)
        self.run("chown", str(self.uid), groups, f"{groups}/cgroup.procs", runtime)
        begin = f'echo 0 > "{groups}/cgroup.procs" && exec "$@"'
        self._manager = subprocess.Popen(
            [*self._enter(), "sh", "-c", begin, "sh", *self._as_user("--pdeathsig", "KILL"),
             "/usr/lib/systemd/systemd", "--user"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def user_manager(self, *words: str) -> str:
        """What the user's own systemd answers to a command of systemctl."""
        return self.run(*self._as_user(), "systemctl", "--user", *words)

    def _as_user(self, *more: str) -> tuple[str, ...]:
        ids = ("--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups", *more)
        runtime = f"XDG_RUNTIME_DIR=/run/user/{self.uid}"
        return ("setpriv", *ids, "env", "-i", f"HOME=/home/{self.user}", runtime, "PATH=/usr/bin:/bin")

    def log(self) -> str:
        return (self.folder / "sshd.log").read_text()

    # what runs there -----------------------------------------------------------------------------
    def run(self, *words: str) -> str:
        """A command there, as root."""
        return command(*self._enter(), *words)

    def shown(self, place: str) -> Path:
        """A folder there, as this machine sees it."""
        return Path(f"/proc/{self.pid}/root{place}")

    def start(self, *words: str) -> None:
        """A command there, as root, that goes on until `clear`."""
        self.run("sh", "-c", '"$@" </dev/null >/dev/null 2>&1 &', "sh", *words)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those on this host, its first one apart, whose command line has all ``words``; as `seen`."""
        found = []
        for process in seen():
            with suppress(OSError):
                here = Path(f"/proc/{process.pid}/ns/pid").readlink() == self._space
                if here and process.pid != self.pid and set(words) <= set(process.info["cmdline"]):
                    found.append(process)
        return found

    def sockets(self) -> str:
        """The kernel's table of TCP sockets there."""
        return Path(f"/proc/{self.pid}/net/tcp").read_text()

    def lose_power(self) -> None:
        """Everything that runs there ends at once; files stay. `start_sshd` is what comes back first."""
        self._kill(lambda process: True)

    def _kill(self, wanted: Callable[[psutil.Process], bool]) -> None:
        def none_left() -> bool:
            left = [process for process in self.processes() if wanted(process)]
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            return not left

        until(none_left, 10)
        assert self._server is not None
        self._server.wait(10)

    def clear(self) -> None:
        """As it was when new, but for its keys."""
        self.lose_power()
        for made in (".mlxring", ".config/systemd"):
            shutil.rmtree(self.home / made, ignore_errors=True)
        if self._manager is not None:
            self._manager.wait(10)
            group = f"/sys/fs/cgroup/mlxring-{self.name}"
            self.run("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";")
            self.run("umount", "/sys/fs/cgroup")
            self._manager = None
        self.configure(self.sshd)
        self.start_sshd()

    def _enter(self) -> tuple[str, ...]:
        net = () if self.online else ("--net",)
        return ("nsenter", "--target", str(self.pid), *_INSIDE, *net, "--")

"""Makes a host ready: its home folder, the code, an interpreter with the locked packages.

What is missing is decided by `needs`; here it is looked up and done. A second run finds nothing to do.
"""

from typing import cast

from msgspec import Struct

from console.cluster.code_archive import CodeArchive, code_archive
from console.cluster.facts import expanded
from console.cluster.host import Completed, Host
from console.cluster.lock import lock_hash, lock_text, parse_lock
from console.cluster.needs import Action, Found, HomeState, MakeHome, MakeVenv, SendCode, given_python, needs
from console.cluster.pip_output import is_disk_full
from console.cluster.pythons import MINIMUM, parse_probe, probe_argv
from console.cluster.remote import DEFAULT_HOME
from console.cluster.shell import PLACE
from console.cluster.steps import emit_for, host_step
from console.cluster.venv import make_venv
from console.ports import Emit
from ringcore.spec.deployment import MARKER
from ringcore.spec.errors import ProvisionError
from ringcore.spec.events import HostStep
from ringcore.spec.facts import HostFacts

_TIMEOUT = 30.0
_CODE_TIMEOUT = 60.0

# $1 home, $2 environment, $3 code
_LOOK = f"""
if [ -f "$1/{MARKER}" ]; then echo ours
elif [ -d "$1" ]; then [ -z "$(ls -A "$1")" ] && echo empty || echo foreign
elif [ -e "$1" ] || [ -L "$1" ]; then echo foreign
else echo absent; fi
[ -x "$2/bin/python" ] && echo venv
[ -f "$3/ringcore/__main__.py" ] && echo code
exit 0
"""
_MAKE_HOME = f"""
umask 077
mkdir -p -- "$1" && chmod 700 "$1" && echo 'mlxring down --purge removes this folder' > "$1/{MARKER}"
"""
# $1 target, $2 SHA-256 of what comes on standard input
_SEND_CODE = f"""
{PLACE}
PATH=$PATH:/usr/bin:/bin; export PATH
umask 077
new=$1.$$.new
trap 'rm -rf -- "$new"' EXIT
mkdir -- "$new" && cat > "$new/archive" || exit 1
sum=$(sha256sum < "$new/archive" 2>/dev/null || shasum -a 256 < "$new/archive") || exit 1
[ "${{sum%% *}}" = "$2" ] || {{ echo "the code did not arrive as it was sent" >&2; exit 1; }}
tar -xzof "$new/archive" -C "$new" && rm -f -- "$new/archive" || exit 1
place "$new" "$1" ringcore/__main__.py
"""


class Prepared(Struct, frozen=True):
    """Absolute paths there: ``code`` is the folder that holds the package ``ringcore``."""

    home: str
    python: str
    code: str


async def provision(host: Host, facts: HostFacts, emit: Emit) -> Prepared:
    """Install what the host lacks. Raises `ProvisionError` with what must change there, `HostError`."""
    work = _Provisioning(host, facts, emit)
    async with host_step(emit, host.options.name, "provision"):
        return await work.run()


class _Provisioning:
    def __init__(self, host: Host, facts: HostFacts, emit: Emit) -> None:
        self._host = host
        self._facts = facts
        self._emit = emit
        self._home = expanded(host.options.home or DEFAULT_HOME, facts.home).rstrip("/")
        self._lock = lock_text()
        self._archive: CodeArchive = code_archive()
        self._venv = f"{self._home}/venv-{lock_hash(self._lock)}"
        self._code = f"{self._home}/code-{self._archive.hash}"

    async def run(self) -> Prepared:
        found = await self._look()
        wanted = needs(self._facts, self._host.options, self._home, self._venv, found, await self._lacking())
        for action in wanted.actions:
            await self._do(action)
        if not wanted.actions:
            self._say(1.0, "nothing to do")
        return Prepared(self._home, wanted.python, self._code)

    async def _look(self) -> Found:
        words = (await self._script(_LOOK, self._home, self._venv, self._code)).stdout.split()
        state = cast(HomeState, words[0])
        return Found(home=state, has_venv="venv" in words, has_code="code" in words)

    async def _lacking(self) -> tuple[str, ...]:
        """Packages that the profile's own interpreter has not as locked; asked only when some are missing."""
        given = given_python(self._facts, self._host.options)
        if given is None or given.has_lock or given.version < MINIMUM:
            return ()
        result = await self._host.run(probe_argv(given.path), timeout=_TIMEOUT)
        interpreter = parse_probe(result.stdout)
        return tuple(map(str, interpreter.lacks(parse_lock(self._lock)))) if interpreter else ()

    async def _do(self, action: Action) -> None:
        match action:
            case MakeHome():
                self._say(0.0, f"making {self._home}", f"mkdir {self._home}")
                await self._script(_MAKE_HOME, self._home)
            case SendCode():
                self._say(0.05, f"sending ringcore {self._archive.hash}", f"tar -xzf - -C {self._code}")
                await self._script(
                    _SEND_CODE,
                    self._code,
                    self._archive.sha256,
                    stdin=self._archive.data,
                    timeout=_CODE_TIMEOUT,
                )
            case MakeVenv(python, uv):
                tool = f"{uv} pip" if uv else f"{self._venv}/bin/python -m pip"
                command = f"{tool} install --require-hashes -r {self._venv}.lock"
                self._say(0.1, f"making an environment with {python.path}", command)
                await make_venv(
                    self._host,
                    self._facts,
                    action,
                    self._venv,
                    self._lock,
                    lambda part, text: self._say(0.1 + 0.9 * part, text, command),
                )

    def _say(self, progress: float, detail: str, command: str = "") -> None:
        event = HostStep(step="provision", status="active", progress=progress, detail=detail, command=command)
        emit_for(self._emit, self._host.options.name, event)

    async def _script(
        self, script: str, *arguments: str, stdin: bytes = b"", timeout: float = _TIMEOUT
    ) -> Completed:
        result = await self._host.run(
            ["/bin/sh", "-c", script, "sh", *arguments], stdin=stdin, timeout=timeout
        )
        if result.status == 0:
            return result
        said = result.stderr.strip()[-300:] or f"status {result.status}"
        if is_disk_full(said):
            raise ProvisionError(
                f"the disk of {self._home} is full: {said}",
                "free space there, or set hosts.home in the profile to a folder on another disk",
                host=self._host.options.name,
            )
        raise ProvisionError(
            f"{self._home} cannot be made ready: {said}",
            "see that this user may write there, or set hosts.home in the profile to another folder",
            host=self._host.options.name,
        )

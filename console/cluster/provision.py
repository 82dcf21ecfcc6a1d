"""Makes a host ready: its home folder, the code, an interpreter with the locked packages.

What is missing is decided by `needs`; here it is looked up and done. A second run finds nothing to do.
"""

from pathlib import Path

from msgspec import Struct

from console.cluster.actions import (
    Action,
    InstallPython,
    MakeHome,
    MakeVenv,
    Places,
    Remove,
    SendCode,
    SendWheels,
    told,
)
from console.cluster.code_archive import CodeArchive, code_archive
from console.cluster.facts import expanded, lock_of
from console.cluster.host import Completed, Host
from console.cluster.lock import lock_hash, parse_lock
from console.cluster.look import KEPT_MINUTES, Found, look_argv, read_look
from console.cluster.needs import Needs, given_python, needs
from console.cluster.own_python import install_python
from console.cluster.pip_output import is_disk_full
from console.cluster.pythons import MINIMUM, environment_of, parse_probe, probe_argv
from console.cluster.remote import DEFAULT_HOME
from console.cluster.send_wheels import send_wheels
from console.cluster.shell import PLACE
from console.cluster.steps import emit_for, host_step
from console.cluster.venv import make_venv
from console.cluster.wheelhouse import PLATFORM_PROBE, Report, Wheelhouse, names_of, parse_platform
from console.cluster.wheels import requirements_for
from console.ports import Emit
from ringcore.spec.deployment import MARKER
from ringcore.spec.errors import ProvisionError
from ringcore.spec.events import HostStep
from ringcore.spec.facts import HostFacts

_TIMEOUT = 30.0
_CODE_TIMEOUT = 60.0

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
# $1 home, the rest: folders in it
_REMOVE = 'cd -- "$1" && shift && for name in "$@"; do rm -rf -- "./$name" "./$name.lock" || exit 1; done'


class Prepared(Struct, frozen=True):
    """Absolute paths there: ``code`` is the folder that holds the package ``ringcore``."""

    home: str
    python: str
    code: str


async def provision(
    host: Host, facts: HostFacts, emit: Emit, *, ring: str = "", wheelhouse: Wheelhouse | None = None
) -> Prepared:
    """Install what the host lacks. Raises `ProvisionError` with what must change there, `HostError`."""
    work = Provisioning(host, facts, emit, ring, wheelhouse)
    async with host_step(emit, host.options.name, "provision"):
        await work.look()
        return await work.do()


class Provisioning:
    """One host's way from what it has to what it needs. ``wheelhouse``: where packages come from when the
    host is not to fetch them itself. ``ring`` is the one whose deployed version is looked up."""

    needs: Needs  # once `look` has returned
    found: Found

    def __init__(
        self, host: Host, facts: HostFacts, emit: Emit, ring: str = "", wheelhouse: Wheelhouse | None = None
    ) -> None:
        self._host = host
        self._facts = facts
        self._emit = emit
        self._ring = ring
        self._wheelhouse = wheelhouse
        self._lock = lock_of(facts)
        self._archive: CodeArchive = code_archive()
        self.options = host.options
        home = expanded(host.options.home or DEFAULT_HOME, facts.home).rstrip("/")
        lock = lock_hash(self._lock)
        self.places = Places(
            home=home,
            venv=f"{home}/venv-{lock}",
            code=f"{home}/code-{self._archive.hash}",
            wheels=f"{home}/wheels-{lock}",
        )

    async def look(self) -> Needs:
        """What is still to be done; changes nothing."""
        self.found = await self._found()
        lacking = await self._lacking()
        offline_lock = self._lock if self._wheelhouse is not None else b""
        self.needs = needs(
            self._facts, self._host.options, self.places, self.found, lacking, offline_lock=offline_lock
        )
        return self.needs

    async def do(self) -> Prepared:
        """All that `look` has found missing. Broken off anywhere, the next run goes on from there."""
        actions = self.needs.actions
        for number, action in enumerate(actions):
            await self._do(action, number / len(actions), 1 / len(actions))
        if not actions:
            self._say(1.0, "nothing to do")
        return Prepared(self.places.home, self.needs.python, self.places.code)

    async def remove_unused(self, kept_minutes: int = KEPT_MINUTES) -> None:
        """Once a launcher names other folders than before: what nobody uses any more goes."""
        found = await self._found(kept_minutes)
        if found.home == "ours" and found.unused:
            await self._script(_REMOVE, self.places.home, *found.unused)

    async def _found(self, kept_minutes: int = KEPT_MINUTES) -> Found:
        result = await self._host.run(look_argv(self.places, self._ring, kept_minutes), timeout=_TIMEOUT)
        try:
            return read_look(result.stdout, self.places)
        except KeyError:
            raise self._failed(result) from None

    async def _lacking(self) -> tuple[str, ...]:
        """Packages that the profile's own interpreter has not as locked; asked only when some are missing."""
        given = given_python(self._facts, self._host.options)
        if given is None or given.has_lock or given.version < MINIMUM:
            return ()
        result = await self._host.run(probe_argv(given.path), timeout=_TIMEOUT)
        interpreter = parse_probe(result.stdout)
        return tuple(map(str, interpreter.lacks(parse_lock(self._lock)))) if interpreter else ()

    async def _do(self, action: Action, done: float, share: float) -> None:
        words = told(action, self.places)
        self._say(done, words.text, words.command)

        def report(part: float, text: str) -> None:
            self._say(done + share * part, text, words.command)

        match action:
            case MakeHome():
                await self._script(_MAKE_HOME, self.places.home)
            case InstallPython(uv):
                await install_python(self._host, self.places, uv)
            case SendCode():
                data, sha256 = self._archive.data, self._archive.sha256
                await self._script(_SEND_CODE, self.places.code, sha256, stdin=data, timeout=_CODE_TIMEOUT)
            case SendWheels(packages):
                files = await self._wheels(report)
                chosen = names_of(files, packages)
                folder, lock = self.places.wheels, self._lock
                await send_wheels(self._host, chosen, folder, lock, lambda p, t: report(0.5 + p / 2, t))
            case MakeVenv():
                await make_venv(self._host, self._facts, action, self.places, self._lock, report)
            case Remove(names):
                await self._script(_REMOVE, self.places.home, *names)

    async def _wheels(self, report: Report) -> tuple[Path, ...]:
        """Every wheel that the environment to be made there needs, on this machine."""
        python = next(action.python for action in self.needs.actions if isinstance(action, MakeVenv))
        assert self._wheelhouse is not None
        result = await self._host.run([python.path, "-I", "-B", "-c", PLATFORM_PROBE], timeout=_TIMEOUT)
        platform = parse_platform(result.stdout)
        if platform is None:
            raise ProvisionError(
                f"{python.path} does not work: {result.stderr.strip()[-300:] or f'status {result.status}'}",
                "install another Python there, 3.11 to 3.13",
                host=self._host.options.name,
            )
        environment = environment_of(self._facts, python) | {"platform_machine": platform.machine}
        wanted = requirements_for(self._lock, environment)
        return await self._wheelhouse.fill(
            self._lock, wanted, platform, lambda part, text: report(part / 2, text)
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
        raise self._failed(result)

    def _failed(self, result: Completed) -> ProvisionError:
        home = self.places.home
        said = result.stderr.strip()[-300:] or f"status {result.status}"
        if is_disk_full(said):
            return ProvisionError(
                f"the disk of {home} is full: {said}",
                "free space there, or set hosts.home in the profile to a folder on another disk",
                host=self._host.options.name,
            )
        return ProvisionError(
            f"{home} cannot be made ready: {said}",
            "see that this user may write there, or set hosts.home in the profile to another folder",
            host=self._host.options.name,
        )

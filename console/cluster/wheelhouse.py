"""The wheels of the lock file on this machine, for hosts that cannot fetch them: filled once a platform.

pip downloads what an interpreter of the host's kind would take; every file's hash is one of the lock file's.
Knows nothing of connections.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from console.cluster.lock import lock_hash
from console.cluster.pip_output import is_disk_full, is_network, last_error
from console.cluster.wheels import wheel_of
from ringcore.spec.errors import ProvisionError

_SECONDS = 1800.0
_OLDEST_GLIBC = 5  # manylinux begins with glibc 2.5
_OLDEST_MACOS = (14, 0)  # that MLX has wheels for
Report = Callable[[float, str], None]  # 0..1, and what happens now

PLATFORM_PROBE = r"""
import json, platform, sys, sysconfig
libc = platform.libc_ver()
print(json.dumps({
    "version": list(sys.version_info[:3]), "system": sys.platform, "machine": platform.machine(),
    "glibc": libc[1] if libc[0] == "glibc" else "", "macos": platform.mac_ver()[0],
}))
"""


class Platform(Struct, frozen=True, kw_only=True):
    """The answer of `PLATFORM_PROBE`: what decides which wheels an interpreter takes."""

    version: tuple[int, int, int]
    system: str
    machine: str
    glibc: str = ""
    macos: str = ""

    def __str__(self) -> str:
        return f"{self.system} {self.machine}, Python {self.version[0]}.{self.version[1]}"


def parse_platform(answer: str) -> Platform | None:
    try:
        return msgspec.json.decode(answer.strip().rpartition("\n")[2], type=Platform)
    except msgspec.MsgspecError:
        return None


def platform_tags(platform: Platform) -> tuple[str, ...]:
    """pip's names for what runs there, the newest first (PEP 600, PEP 656; pip itself goes on for macOS)."""
    machine = platform.machine
    if platform.system == "darwin":
        major, minor = _two(platform.macos) or _OLDEST_MACOS
        return (f"macosx_{major}_{minor if major == 10 else 0}_{machine}",)
    glibc = _two(platform.glibc)
    if glibc is None:
        return (f"musllinux_1_2_{machine}", f"musllinux_1_1_{machine}", f"linux_{machine}")
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc[1], _OLDEST_GLIBC - 1, -1)]
    return (
        *tags,
        f"manylinux2014_{machine}",
        f"manylinux2010_{machine}",
        f"manylinux1_{machine}",
        f"linux_{machine}",
    )


def _two(version: str) -> tuple[int, int] | None:
    """Its first two numbers; None for what is no version."""
    match = re.match(r"([0-9]{1,3})(?:\.([0-9]{1,3}))?(?![0-9])", version)
    return (int(match[1]), int(match[2] or 0)) if match else None


class Wheelhouse:
    """``root`` is a folder of this user's cache; it may be thrown away at any time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[str, asyncio.Lock] = {}

    async def fill(
        self, lock: bytes, requirements: bytes, platform: Platform, report: Report
    ) -> tuple[Path, ...]:
        """The files of ``requirements`` (see `wheels.requirements_for`) for ``platform``, downloaded where
        they are not here yet. Raises `ProvisionError`."""
        folder = self._root / lock_hash(lock)
        stamp = folder / f"{lock_hash(requirements + str(platform_tags(platform)).encode())}.json"
        async with self._locks.setdefault(str(stamp), asyncio.Lock()):
            if whole := _whole(stamp):
                return whole
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=folder, prefix="new-") as place:
                    await _download(requirements, platform, Path(place), report)
                    return await asyncio.to_thread(_keep, Path(place), stamp)
            except OSError as error:
                raise ProvisionError(
                    f"the packages cannot be kept in {folder} here: {error.strerror or error}",
                    "free space there, or set XDG_CACHE_HOME to a folder with room",
                ) from None


def _keep(place: Path, stamp: Path) -> tuple[Path, ...]:
    """The wheels of ``place`` beside ``stamp``, which then lists them."""
    names = sorted(wheel.name for wheel in place.glob("*.whl"))
    for name in names:
        (place / name).replace(stamp.parent / name)
    (place / "stamp").write_text(json.dumps(names))
    (place / "stamp").replace(stamp)
    return tuple(stamp.parent / name for name in names)


def _whole(stamp: Path) -> tuple[Path, ...]:
    """What the stamp lists, when it is all there."""
    with suppress(OSError, ValueError):
        files = tuple(stamp.parent / str(name) for name in json.loads(stamp.read_text()))
        if all(file.is_file() for file in files):
            return files
    return ()


async def _download(requirements: bytes, platform: Platform, place: Path, report: Report) -> None:
    (place / "requirements.txt").write_bytes(requirements)
    total = len(requirements.splitlines())
    version = f"{platform.version[0]}.{platform.version[1]}"
    command = [
        sys.executable, "-m", "pip", "download", "--require-hashes", "--only-binary=:all:", "--no-deps",
        "--no-input", "--disable-pip-version-check", "--progress-bar=off", "--dest", str(place),
        "--implementation=cp", f"--python-version={version}", f"--abi=cp{version.replace('.', '')}",
        *(f"--platform={tag}" for tag in platform_tags(platform)), "-r", str(place / "requirements.txt"),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(place)},
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(_SECONDS):
            seen = 0
            async for raw in process.stdout:
                line = raw.decode(errors="replace").strip()
                lines = [*lines[-200:], line]
                if line.startswith("Collecting "):
                    seen += 1
                    package = line.split()[1]
                    report(seen / max(total, seen), f"fetching {package} for {platform} ({seen} of {total})")
            status = await process.wait()
    except TimeoutError:
        raise ProvisionError(
            f"fetching the packages took more than {_SECONDS:.0f} s", "try again on a faster network"
        ) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if status:
        raise download_failure("\n".join(lines), platform)


def download_failure(output: str, platform: Platform) -> ProvisionError:
    """What pip's ``output`` on this machine means to an operator."""
    said, low = last_error(output), output.lower()
    if "no module named pip" in low:
        return ProvisionError(
            f"{sys.executable} has no pip to fetch the packages with",
            f"add it: {sys.executable} -m ensurepip --upgrade",
        )
    if is_disk_full(output):
        return ProvisionError(
            f"the disk of this machine became full while packages were fetched: {said}",
            "free space, or set XDG_CACHE_HOME to a folder with room",
        )
    if is_network(output):
        return ProvisionError(
            f"the package index cannot be reached from this machine: {said}",
            "run this once where it can be reached (or set PIP_INDEX_URL); afterwards it is not needed",
        )
    if "no matching distribution" in low:
        return ProvisionError(
            f"a locked package has no wheel for {platform}: {said}",
            "use a Python 3.11 to 3.13 on macOS (arm64) or on Linux with glibc (x86_64, aarch64) there",
        )
    return ProvisionError(f"pip failed here: {said}", "mend that, then run the command again")


def names_of(files: Sequence[Path], packages: Sequence[str]) -> tuple[Path, ...]:
    """Those of ``files`` whose ``name==version`` is among ``packages``."""
    return tuple(file for file in files if "==".join(wheel_of(file.name)) in packages)

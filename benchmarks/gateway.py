"""The gateway alone: requests a second, and processor time of a streamed token, over a free ring.

    python -m benchmarks.gateway [--model FOLDER] [--out gateway.json]

A real gateway process; in place of rank 0 a connection to ``engine.sock`` that sends ready-made lines. So
what is measured is JSON, text, HTTP and the journal's events, and nothing of MLX. The client reads bytes and
parses nothing; the processor time is the gateway's own.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.machine import commit, load, versions
from console.demo.cache import user_cache
from console.demo.model import demo_model
from ringcore.spec.engine import Finished, Ready, Started, Submit, Token, encoder, gateway_to_engine
from tests.gateway.harness import GatewayProcess

STREAMS = 32
RATE = 100.0  # tokens a second of each
TEXT = "The quick brown fox jumps over the lazy dog while the ring is serving, and nothing is missing. "
_BODY = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}


class Ring:
    """Rank 0's end of ``engine.sock``: requests arrive in ``submits``, lines go out as they are."""

    async def open(self, gateway: GatewayProcess) -> "Ring":
        self.submits: asyncio.Queue[str] = asyncio.Queue()
        reader, self._writer = await asyncio.open_unix_connection(str(gateway.engine_socket), limit=1 << 26)
        self._reading = asyncio.create_task(self._read(reader))
        self._writer.write(
            encoder.encode(Ready(epoch=1, context=1 << 20, sequences=STREAMS, vocab_size=1 << 17)) + b"\n"
        )
        return self

    def send(self, messages: Sequence[Any]) -> None:
        self._writer.write(b"".join(encoder.encode(message) + b"\n" for message in messages))

    async def drain(self) -> None:
        await self._writer.drain()

    def close(self) -> None:
        self._reading.cancel()
        self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while text := await reader.readline():
            message = gateway_to_engine.decode(text)
            if isinstance(message, Submit):
                self.submits.put_nowait(message.id)


async def ask(port: int, body: dict[str, Any]) -> int:
    """One request on a connection of its own; the bytes that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    size = 0
    while part := await reader.read(1 << 16):
        size += len(part)
    writer.close()
    return size


async def stream(gateway: GatewayProcess, ring: Ring, tokens: Sequence[int], rate: float) -> dict[str, float]:
    """All streams at once, each with ``tokens``; ``rate`` 0: as fast as they are taken."""
    asking = [asyncio.create_task(ask(gateway.port, {**_BODY, "stream": True})) for _ in range(STREAMS)]
    ids = [await ring.submits.get() for _ in range(STREAMS)]
    process = psutil.Process(gateway.process.pid)
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    ring.send([Started(id=id) for id in ids])
    for index, token in enumerate(tokens):
        if rate:
            await asyncio.sleep(max(0.0, began + index / rate - time.monotonic()))
        ring.send([Token(id=id, index=index, token=token) for id in ids])
        await ring.drain()
    ring.send([Finished(id=id, reason="length", completion_tokens=len(tokens)) for id in ids])
    await asyncio.gather(*asking)
    took, used = time.monotonic() - began, sum(process.cpu_times()[:2]) - before
    count = STREAMS * len(tokens)
    return {"tokens_per_second": count / took, "cpu_ms_per_token": 1000 * used / count, "core": used / took}


async def requests(gateway: GatewayProcess, ring: Ring, token: int, count: int) -> dict[str, float]:
    """Whole answers of one token, `STREAMS` at a time."""

    async def answer() -> None:
        for _ in range(count):
            id = await ring.submits.get()
            ring.send([Started(id=id), Token(id=id, index=0, token=token),
                       Finished(id=id, reason="length", completion_tokens=1)])  # fmt: skip

    async def client() -> None:
        for _ in range(count // STREAMS):
            await ask(gateway.port, _BODY)

    process = psutil.Process(gateway.process.pid)
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    answering = asyncio.create_task(answer())
    await asyncio.gather(*(client() for _ in range(STREAMS)), answering)
    took, used = time.monotonic() - began, sum(process.cpu_times()[:2]) - before
    return {"requests_per_second": count / took, "cpu_ms_per_request": 1000 * used / count}


async def measure(model: Path, rounds: int, tokens: int) -> dict[str, Any]:
    with GatewayProcess(model) as gateway:
        gateway.ready()
        said = (gateway.tokenizer.encode(TEXT).ids * (1 + tokens))[:tokens]
        ring = await Ring().open(gateway)
        try:
            await stream(gateway, ring, said[:50], 0)
            fast = [await stream(gateway, ring, said, 0) for _ in range(rounds)]
            paced = [await stream(gateway, ring, said, RATE) for _ in range(rounds)]
            whole = [await requests(gateway, ring, said[0], 32 * STREAMS) for _ in range(rounds)]
        finally:
            ring.close()
    found = {"as fast as it goes": fast, f"{STREAMS} x {RATE:.0f} tok/s": paced, "whole answers": whole}
    middle = {
        name: {key: round(median(one[key] for one in each), 4) for key in each[0]}
        for name, each in found.items()
    }
    return {"medians": middle, "rounds": found}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--model", type=Path, help="a folder with a tokenizer (the demo model's)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=300, help="of each stream (300)")
    parser.add_argument("--out", type=Path, help="all values as JSON")
    options = parser.parse_args()
    model = options.model or asyncio.run(demo_model(user_cache(), lambda _share, _text: None))
    before = load()
    found = asyncio.run(measure(model, options.rounds, options.tokens))
    found |= {"load": [before, load()], "versions": versions(), "commit": commit()}
    print(json.dumps(found["medians"], indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

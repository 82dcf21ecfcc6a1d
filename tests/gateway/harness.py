"""A gateway as a real process: the agent's side of its control channel, and rank 0's of ``engine.sock``.

`GatewayProcess` is a context manager; whatever happens, its process is gone when it ends.
"""

import asyncio
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
from tokenizers import Tokenizer

from ringcore.spec.control import ChildToAgent, Fatal, GatewayReady, Quit, Say, child_to_agent, line
from ringcore.spec.deployment import API_KEY_FILE, DEPLOYMENT_FILE, ENGINE_SOCKET, Deployment, Member
from ringcore.spec.engine import (
    Cancel,
    EngineToGateway,
    Finished,
    FinishReason,
    GatewayToEngine,
    Logprobs,
    Ready,
    Started,
    Submit,
    Token,
    encoder,
    gateway_to_engine,
)
from ringcore.spec.events import MemoryUsed, RequestChanged, StepCount
from tests.ring.harness import REPOSITORY, free_ports, make_plan

MODEL = "tests/small-model"
CONTEXT = 256
_PATIENCE = 10.0
_epochs = itertools.count(1)
_M = TypeVar("_M")


class GatewayProcess:
    """``messages`` is all that it has said to its agent."""

    def __init__(
        self,
        model: Path,
        *,
        port: int | None = None,
        folder: Path | None = None,
        api_key: str = "",
        **options: Any,
    ) -> None:
        """``api_key`` is asked for where there is one; ``options`` are more of the deployment's fields."""
        self.port = free_ports(1)[0] if port is None else port
        scheme = "https" if "api_tls_cert" in options else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.folder = folder or Path(tempfile.mkdtemp(prefix="gw-"))
        self.messages: list[ChildToAgent] = []
        self._model = model
        self._moved = threading.Condition()
        self._control, theirs = socket.socketpair()
        deployment = Deployment(
            ring="test", run_id="1", rank=0, plan=make_plan([1, 1]),
            members=(Member(rank=0, host="h0", address="127.0.0.1", link_port=1),), control_port=0,
            backend="ring", model_name=MODEL, model_path=str(model), api_port=self.port,
            **{"api_bind": "127.0.0.1", "api_key": bool(api_key), **options},
        )  # fmt: skip
        if api_key:
            (self.folder / API_KEY_FILE).write_text(api_key)
        (self.folder / DEPLOYMENT_FILE).write_bytes(msgspec.json.encode(deployment))
        self.log = self.folder / "gateway.log"
        with self.log.open("wb") as log, theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ringcore", "gateway",
                 "--run", str(self.folder), "--control-fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "GatewayProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.close_control()
        self._reader.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(str(self._model / "tokenizer.json"))

    @cached_property
    def llguidance(self) -> Any:
        """The tokenizer as the ring's sampling has it."""
        from llguidance import LLTokenizer

        return LLTokenizer((self._model / "tokenizer.json").read_text())

    @property
    def engine_socket(self) -> Path:
        return self.folder / ENGINE_SOCKET

    def ready(self) -> "GatewayProcess":
        """Wait until it says that it listens."""
        self.wait(lambda m: isinstance(m, GatewayReady | Fatal), "GatewayReady")
        assert self.said(GatewayReady), self.said(Fatal)
        return self

    def tell(self, *events: StepCount | MemoryUsed) -> None:
        """What ranks say, as the agent passes it on."""
        self._control.sendall(b"".join(line(event) for event in events))

    def quit(self) -> None:
        self._control.sendall(line(Quit()))

    def close_control(self) -> None:
        """As if the agent had died."""
        if self._control.fileno() >= 0:
            self._control.shutdown(socket.SHUT_RDWR)
            self._control.close()

    def said(self, kind: type[_M]) -> list[_M]:
        with self._moved:
            return [message for message in self.messages if isinstance(message, kind)]

    def wait(self, found: Callable[[ChildToAgent], bool], what: str, seconds: float = _PATIENCE) -> None:
        """Until something was said for which ``found`` holds; fails naming ``what``."""
        with self._moved:
            there = self._moved.wait_for(lambda: any(map(found, self.messages)), seconds)
        assert there, f"waited {seconds} s for {what}; {self.messages[-5:]}; {self.log.read_text()[-2000:]}"

    async def request(self, request_id: str, phase: str) -> RequestChanged:
        """The event of that request in that phase, the last one if there are more."""

        def found(message: ChildToAgent) -> bool:
            return isinstance(message, RequestChanged) and (message.id, message.phase) == (request_id, phase)

        await asyncio.to_thread(self.wait, found, f"{phase} of {request_id}")
        return [m for m in self.said(RequestChanged) if found(m)][-1]

    def _read(self) -> None:
        try:
            with self._control.makefile("rb") as lines:
                for text in lines:
                    with self._moved:
                        self.messages.append(child_to_agent.decode(text))
                        self._moved.notify_all()
        except (OSError, ValueError):
            return


class FakeRank:
    """Rank 0: reads what the gateway submits, and answers with the tokens it is told to."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.epoch = next(_epochs)
        self.received: list[GatewayToEngine] = []
        self._moved = asyncio.Event()
        self._index: dict[str, int] = {}

    async def connect(self, *, context: int = CONTEXT, vocab_size: int = 320) -> "FakeRank":
        """Returns when the gateway knows it."""
        reader, self._writer = await self._open()
        self._task = asyncio.create_task(self._read(reader))
        self.send(Ready(epoch=self.epoch, context=context, sequences=4, vocab_size=vocab_size))

        def knows(message: ChildToAgent) -> bool:
            return isinstance(message, Say) and f"connected, epoch {self.epoch}," in message.text

        await asyncio.to_thread(self.gateway.wait, knows, f"epoch {self.epoch} at the gateway")
        return self

    def send(self, *messages: EngineToGateway) -> None:
        self._writer.write(b"".join(encoder.encode(message) + b"\n" for message in messages))

    def garbage(self, text: bytes) -> None:
        self._writer.write(text)

    def tokens(self, submit: Submit, tokens: Sequence[int], logprobs: Sequence[Logprobs] = ()) -> None:
        """The next tokens of an answer, with one of ``logprobs`` each when there are any."""
        for number, token in enumerate(tokens):
            index = self._index.get(submit.id, 0)
            self._index[submit.id] = index + 1
            found = logprobs[number] if logprobs else None
            self.send(Token(id=submit.id, index=index, token=token, logprobs=found))

    def text(self, submit: Submit, text: str) -> None:
        self.tokens(submit, self.encode(text))

    def finish(self, submit: Submit, reason: FinishReason = "stop") -> None:
        self.send(Finished(id=submit.id, reason=reason, completion_tokens=self._index.get(submit.id, 0)))

    def answer(self, submit: Submit, text: str, reason: FinishReason = "stop") -> None:
        self.send(Started(id=submit.id))
        self.text(submit, text)
        self.finish(submit, reason)

    def encode(self, text: str) -> list[int]:
        return self.gateway.tokenizer.encode(text).ids

    def prompt(self, submit: Submit) -> str:
        return self.gateway.tokenizer.decode(submit.prompt, skip_special_tokens=False)

    async def submit(self) -> Submit:
        """The next request that was not taken yet."""
        return await self._next(Submit)

    async def cancel(self) -> Cancel:
        return await self._next(Cancel)

    async def gone(self) -> None:
        """Until the gateway has closed this connection."""
        await asyncio.wait_for(asyncio.shield(self._task), _PATIENCE)

    async def close(self) -> None:
        """As if the rank had died."""
        self._task.cancel()
        self._writer.close()
        await asyncio.wait({self._task})

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    return await asyncio.open_unix_connection(
                        str(self.gateway.engine_socket),
                        limit=64 << 20,  # as `ringcore.engine.door`
                    )
                except ConnectionRefusedError:  # it is bound, and listens in a moment
                    await asyncio.sleep(0.01)

    async def _next(self, kind: type[_M]) -> _M:
        async with asyncio.timeout(_PATIENCE):
            while True:
                for message in self.received:
                    if isinstance(message, kind):
                        self.received.remove(message)
                        return message
                self._moved.clear()
                await self._moved.wait()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while text := await reader.readline():
                self.received.append(gateway_to_engine.decode(text))
                self._moved.set()
        except ConnectionError:
            return


def chat(content: str = "hi", **fields: Any) -> dict[str, Any]:
    """The body of a chat with one message."""
    return {"messages": [{"role": "user", "content": content}], **fields}


@asynccontextmanager
async def streaming(
    client: httpx.AsyncClient, rank: FakeRank, **body: Any
) -> AsyncIterator[tuple[Submit, httpx.Response]]:
    """A chat's stream that rank 0 has started to answer."""
    request = client.build_request("POST", "/v1/chat/completions", json={**chat(), "stream": True, **body})
    asking = asyncio.create_task(client.send(request, stream=True))
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    response = await asking
    try:
        yield submit, response
    finally:
        await response.aclose()


async def events(response: httpx.Response) -> AsyncIterator[Any]:
    """The events of a stream as JSON, ``"[DONE]"`` as it is."""
    async for text in response.aiter_lines():
        assert not text or text.startswith(("data: ", ":")), text
        if text.startswith("data: "):
            data = text.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


def texts(found: Sequence[Any]) -> str:
    """The text of a chat's stream."""
    return "".join(
        choice["delta"].get("content", "")
        for event in found
        if event != "[DONE]" and "choices" in event
        for choice in event["choices"]
    )


def wait_exit(process: subprocess.Popen[bytes], seconds: float) -> int:
    """The exit code; fails when the process outlives ``seconds``."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the gateway still ran after {seconds} s") from None

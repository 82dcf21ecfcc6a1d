"""A gateway's life: startup, serving until it is told to end, shutdown.

Owns the order in which its parts come and go; the parts know nothing of each other's lives.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator as Yields
from pathlib import Path

import uvicorn

from ringcore.gateway.app import make_app
from ringcore.gateway.control import Control
from ringcore.gateway.engine import Engine
from ringcore.gateway.generate import Generator
from ringcore.gateway.ledger import Ledger
from ringcore.gateway.text import Text
from ringcore.spec.control import GatewayReady
from ringcore.spec.deployment import ENGINE_SOCKET, Deployment
from ringcore.spec.errors import RingError

_GRACE_SECONDS = 2


async def serve(deployment: Deployment, control: Control) -> None:
    """Returns after `Quit` (or SIGTERM). Raises `RingError` when the port is not to be had, `PlanError`
    when the tokenizer is not, ``OSError`` when the run directory is not writable."""
    listener = _bind(deployment.api_bind, deployment.api_port)
    engine = Engine(Path(ENGINE_SOCKET), control.say)
    try:
        # First the door, then the furniture: rank 0 may come while the tokenizer is still loading.
        await engine.listen()
        ledger = Ledger(engine, control.report)
        text = await asyncio.to_thread(Text.load, Path(deployment.model_path))
        app = make_app(deployment.model_name, engine, Generator(engine, ledger, text), control)
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=_GRACE_SECONDS,
            ),
            control,
        )
        await _until_quit(server, listener, engine, control)
    finally:
        await engine.close()
        listener.close()


async def _until_quit(server: "_Server", listener: socket.socket, engine: Engine, control: Control) -> None:
    serving = asyncio.create_task(server.serve([listener]), name="http")
    quitting = asyncio.create_task(control.quit.wait(), name="quit")
    await asyncio.wait({serving, quitting}, return_when=asyncio.FIRST_COMPLETED)
    quitting.cancel()
    # Unfinished streams hear that the ring is going before their connections do.
    await engine.close()
    server.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """Says where it listens as soon as it does."""

    def __init__(self, config: uvicorn.Config, control: Control) -> None:
        super().__init__(config)
        self._control = control

    @contextlib.contextmanager
    def capture_signals(self) -> Yields[None]:
        # uvicorn raises the signal again when it is done, before the sockets here are closed.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._control.quit.set)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets
        self._control.report(GatewayReady(url=_url(sockets[0])))


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise RingError(
            f"the API cannot listen on {address}:{port}: {error.strerror or error}",
            "end what uses that port, or set another one with `port` under [api] in the profile",
        ) from error
    return listener


def _url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    reach = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(
        address, f"[{address}]" if ":" in address else address
    )
    return f"http://{reach}:{port}"

"""A gateway's life: startup, serving until it is told to end, shutdown.

Owns the order in which its parts come and go; the parts know nothing of each other's lives.
"""

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
from collections.abc import Generator as Yields
from pathlib import Path

import uvicorn

from ringcore.gateway.app import make_app
from ringcore.gateway.connection import IDLE_SECONDS, Connection
from ringcore.gateway.control import Control
from ringcore.gateway.conversations import Conversations
from ringcore.gateway.engine import Engine
from ringcore.gateway.generate import Generator
from ringcore.gateway.ledger import Ledger
from ringcore.gateway.metrics import Metrics
from ringcore.gateway.pulse import Pulse
from ringcore.gateway.shelf import Shelf
from ringcore.gateway.text import Text
from ringcore.spec.control import GatewayReady
from ringcore.spec.deployment import API_KEY_FILE, CONVERSATIONS, ENGINE_SOCKET, Deployment
from ringcore.spec.errors import RingError

_GRACE_SECONDS = 2
_LEAST_KEY = 16  # characters


async def serve(deployment: Deployment, control: Control) -> None:
    """Returns after `Quit` (or SIGTERM). Raises `RingError` when the port is not to be had, `PlanError`
    when the tokenizer is not, ``OSError`` when the run directory is not writable."""
    key = _key(deployment)
    certificate = _certificate(deployment)
    listeners = _listen(deployment.api_bind, deployment.api_port)
    engine = Engine(Path(ENGINE_SOCKET), control.say)
    shelf = Shelf(Path(CONVERSATIONS), control.say)
    _allow_many_connections()
    try:
        # First the door, then the furniture: rank 0 may come while the tokenizer is still loading.
        await engine.listen()
        pulse = Pulse()
        metrics = Metrics(pulse)
        control.on_rank = pulse.heard
        ledger = Ledger(engine, control.report, metrics, pulse)
        text = await asyncio.to_thread(Text.load, Path(deployment.model_path))
        conversations = Conversations(shelf)
        app = make_app(
            deployment.model_name,
            engine,
            Generator(engine, ledger, text),
            control,
            metrics,
            pulse,
            conversations,
            key=key,
            origins=deployment.api_origins,
        )
        server = _Server(
            uvicorn.Config(
                app,
                http=Connection,
                timeout_keep_alive=IDLE_SECONDS,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=_GRACE_SECONDS,
                ssl_certfile=certificate and certificate[0],
                ssl_keyfile=certificate and certificate[1],
            ),
            control,
        )
        await _until_quit(server, listeners, engine, control)
    finally:
        await engine.close()
        for listener in listeners:
            listener.close()
        await shelf.close()


async def _until_quit(
    server: "_Server", listeners: list[socket.socket], engine: Engine, control: Control
) -> None:
    serving = asyncio.create_task(server.serve(listeners), name="http")
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
        self._control.report(GatewayReady(url=_url(sockets[0], "https" if self.config.is_ssl else "http")))


def _allow_many_connections() -> None:
    """Each takes a descriptor, and on macOS a process begins with 256 of them."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (
        65_536,
        10_240,
        most,
    ):  # the system may have a bound of its own below what it calls the most
        if now != resource.RLIM_INFINITY and now < wanted:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
                return


def _key(deployment: Deployment) -> str:
    """What clients must send; "" where nothing is asked for."""
    if not deployment.api_key:
        return ""
    try:
        key = Path(API_KEY_FILE).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        key = ""
    if len(key) < _LEAST_KEY:
        raise RingError("the API must ask for a key, and there is none", "deploy again")
    return key


def _certificate(deployment: Deployment) -> tuple[str, str] | None:
    """The files, tried out: uvicorn would end in a traceback, or ask for a password."""
    if not deployment.api_tls_cert:
        return None
    files = tuple(str(Path(p).expanduser()) for p in (deployment.api_tls_cert, deployment.api_tls_key))
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*files, password="")
    except OSError as error:  # ssl.SSLError is one
        raise RingError(
            f"the API's certificate {files[0]} with the key {files[1]} cannot be used: "
            f"{error.strerror or error}",
            "tls_cert and tls_key under [api] name PEM files on the leader's host, the key with no password",
        ) from error
    return files[0], files[1]


def _listen(address: str, port: int) -> list[socket.socket]:
    """At ``address``, and on loopback too: that is where SSH forwards the console's chat to."""
    first = _bind(address, port)
    if address in ("127.0.0.1", "0.0.0.0", "::"):
        return [first]
    try:
        return [first, _bind("127.0.0.1", first.getsockname()[1])]
    except RingError:
        first.close()
        raise


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


def _url(listener: socket.socket, scheme: str) -> str:
    address, port = listener.getsockname()[:2]
    reach = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(
        address, f"[{address}]" if ":" in address else address
    )
    return f"{scheme}://{reach}:{port}"

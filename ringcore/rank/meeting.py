"""Before MLX opens its links: every rank meets both neighbours on the same addresses, over plain TCP.

MLX's setup waits without a time-out, holds Python's lock while it does, and names no peer. So the
ranks first prove to each other that all of them are there, from the same run, epoch and plan, and
that the addresses work; what MLX then has to do takes a moment.

Each rank listens on its link port, connects to the rank it will send to, and says hello. Then rank 0
sends two rounds of one byte: the first says "all are there", the second "go".
"""

import contextlib
import socket
import struct
import time

from ringcore.spec.deployment import Member
from ringcore.spec.errors import RingError

MEETING_SECONDS = 30.0
_RETRY_SECONDS = 0.1
_HELLO = struct.Struct("!4siI16s")  # magic, rank, epoch, digest of the plan
_MAGIC = b"MLXR"


def meet(me: Member, source: Member, target: Member, epoch: int, digest: str, seconds: float) -> None:
    """Return when every rank of the ring is about to open its links.

    Raises `RingError` when this rank cannot listen, when a neighbour does not come within ``seconds``,
    leaves, or belongs to another run.
    """
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(me))
        outgoing = incoming = None
        problem = ""
        while outgoing is None or incoming is None:
            if outgoing is None:
                outgoing, problem = _connect(target)
                if outgoing:
                    stack.enter_context(outgoing)
                    outgoing.sendall(_hello(me.rank, epoch, digest))
            if incoming is None:
                incoming = _accept(listener, source, epoch, digest)
                if incoming:
                    stack.enter_context(incoming)
            if time.monotonic() > deadline:
                raise _absent(target, problem, seconds) if outgoing is None else _absent(source, "", seconds)
        # Before "all are there" is said: nobody's MLX may connect to this listener after "go".
        listener.close()
        for token in (b"1", b"2"):
            if me.rank == 0:
                _pass_on(outgoing, target, token)
            _await(incoming, source, token, max(deadline, time.monotonic() + 1))
            if me.rank != 0:
                _pass_on(outgoing, target, token)


def _listen(me: Member) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((me.address, me.link_port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise RingError(
            f"cannot listen on {me.address}:{me.link_port} for the ring: {error.strerror}",
            "check hosts.address, or free the port, or choose another ring.port",
        ) from error
    listener.settimeout(_RETRY_SECONDS)
    return listener


def _connect(target: Member) -> tuple[socket.socket | None, str]:
    """A connection, or why there is none yet."""
    try:
        return socket.create_connection((target.address, target.link_port), timeout=1.0), ""
    except OSError as error:
        return None, str(error)


def _accept(listener: socket.socket, source: Member, epoch: int, digest: str) -> socket.socket | None:
    """The neighbour's connection; None when nobody, or a stranger, came within the retry time."""
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        return None
    # A reset at close: the port must be free at once for MLX, without TIME_WAIT.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.settimeout(2.0)
    try:
        hello = connection.recv(_HELLO.size, socket.MSG_WAITALL)
    except OSError:
        hello = b""
    if len(hello) < _HELLO.size or hello[:4] != _MAGIC:
        connection.close()
        return None
    if hello != _hello(source.rank, epoch, digest):
        connection.close()
        _, rank, theirs, plan = _HELLO.unpack(hello)
        raise RingError(
            f"rank {rank} of epoch {theirs}, plan {plan.decode('ascii', 'replace')} came, expected "
            f"rank {source.rank} of epoch {epoch}, plan {digest}",
            "another ring uses these ports, or a host was not deployed to; stop it, or deploy again",
        )
    return connection


def _hello(rank: int, epoch: int, digest: str) -> bytes:
    return _HELLO.pack(_MAGIC, rank, epoch, digest.encode())


def _pass_on(connection: socket.socket, target: Member, token: bytes) -> None:
    try:
        connection.sendall(token)
    except OSError as error:
        raise _left(target, error) from error


def _await(connection: socket.socket, source: Member, token: bytes, deadline: float) -> None:
    try:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        got = connection.recv(1)
    except TimeoutError as error:
        raise RingError(
            "the ring did not close: this rank's neighbours are there, another rank is missing",
            "see which rank reports a missing neighbour, and check its address and ports",
        ) from error
    except OSError as error:
        raise _left(source, error) from error
    if got != token:
        raise _left(source, None)


def _absent(peer: Member, problem: str, seconds: float) -> RingError:
    reason = f": {problem}" if problem else " to this rank's port"
    return RingError(
        f"rank {peer.rank} on {peer.host} ({peer.address}:{peer.link_port}) "
        f"did not come within {seconds:.0f} s{reason}",
        "check that the hosts' addresses reach each other on the ring's ports (firewall, wrong interface)",
    )


def _left(peer: Member, error: OSError | None) -> RingError:
    return RingError(
        f"rank {peer.rank} on {peer.host} left while the ring was joining" + (f": {error}" if error else ""),
        f"see the log of rank {peer.rank}",
    )

"""Before MLX opens its links: every rank meets both neighbours on the same addresses, over plain TCP.

MLX's setup waits without a time-out, holds Python's lock while it does, and names no peer. So the
ranks first prove to each other that all of them are there, from the same run, epoch and plan, and
that the addresses work; what MLX then has to do takes a moment.

Each rank listens on its link port, connects to the rank it will send to, and says hello. Then rank 0
sends two rounds of one byte: the first says "all are there", the second "go".
"""

import contextlib
import hashlib
import select
import socket
import struct
import time

from msgspec import Struct

from ringcore.spec.deployment import Member
from ringcore.spec.errors import RingError

MEETING_SECONDS = 30.0
_RETRY_SECONDS = 0.1
_HELLO_SECONDS = 1.0
_CLOSING_SECONDS = 2.0  # beyond the deadline: those whose neighbour is missing know more, and speak first
_HELLO = struct.Struct("!4siI16s16s")  # magic, rank, epoch, digest of the plan, hash of the run
_MAGIC = b"MLXR"
_CAME_AND_LEFT = "it came and left"


class Gathering(Struct, frozen=True, kw_only=True):
    """What all ranks that meet must have in common. ``plan`` is the plan's digest."""

    run_id: str
    epoch: int
    plan: str

    def hello(self, rank: int) -> bytes:
        run = hashlib.sha256(self.run_id.encode()).digest()[:16]
        return _HELLO.pack(_MAGIC, rank, self.epoch, self.plan.encode(), run)


def meet(me: Member, source: Member, target: Member, gathering: Gathering, seconds: float) -> None:
    """Return when every rank of the ring is about to open its links.

    Raises `RingError` when this rank cannot listen, when a neighbour does not come within ``seconds``,
    leaves, or belongs to another run.
    """
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(me))
        outgoing = incoming = None
        unreached = unseen = ""
        while True:
            # Whoever was here and left belonged to an epoch that was being ended; its successor comes.
            if outgoing and _is_closed(outgoing):
                outgoing, unreached = None, _CAME_AND_LEFT
            if incoming and _is_closed(incoming):
                incoming, unseen = None, _CAME_AND_LEFT
            if outgoing and incoming:
                break
            if time.monotonic() > deadline:
                absent = [(source, unseen or "nobody came to this rank's port")] if not incoming else []
                absent += [(target, unreached)] if not outgoing else []
                # A neighbour that gave up a moment earlier is not the one to look for.
                raise _absent(*min(absent, key=lambda found: found[1] == _CAME_AND_LEFT), seconds)
            if outgoing is None:
                outgoing, unreached = _connect(target, gathering.hello(me.rank), unreached)
                if outgoing:
                    stack.enter_context(outgoing)
            if incoming is None:
                incoming, unseen = _accept(listener, source, gathering, unseen)
                if incoming:
                    stack.enter_context(incoming)
            elif outgoing is None:
                time.sleep(_RETRY_SECONDS)
        # Before "all are there" is said: nobody's MLX may connect to this listener after "go".
        listener.close()
        for token in (b"1", b"2"):
            if me.rank == 0:
                _pass_on(outgoing, target, token)
            _await(incoming, source, token, deadline + _CLOSING_SECONDS)
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


def _connect(target: Member, hello: bytes, before: str) -> tuple[socket.socket | None, str]:
    """A connection over which hello was said, or why there is none yet (``before``: why there was none)."""
    connection = None
    try:
        connection = socket.create_connection((target.address, target.link_port), timeout=1.0)
        connection.sendall(hello)
    except OSError as error:
        if connection:
            connection.close()
        return None, before if before == _CAME_AND_LEFT else str(error)
    return connection, before


def _accept(
    listener: socket.socket, source: Member, gathering: Gathering, before: str
) -> tuple[socket.socket | None, str]:
    """The neighbour's connection; None when nobody, or none that counts, came within the retry time."""
    try:
        connection, (address, _) = listener.accept()
    except TimeoutError:
        return None, before
    # A reset at close: the port must be free at once for MLX, without TIME_WAIT.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hello = _read(connection, _HELLO.size)
    if hello == gathering.hello(source.rank):
        return connection, before
    connection.close()
    if len(hello) < _HELLO.size or hello[:4] != _MAGIC:
        return None, f"a stranger came from {address}"
    _, rank, epoch, plan, run = _HELLO.unpack(hello)
    same_run = run == gathering.hello(0)[-16:]
    came = f"rank {rank} of {'this' if same_run else 'another'} run, epoch {epoch}, plan {_printable(plan)}"
    if same_run and epoch < gathering.epoch:
        return None, f"{came} came"  # it is being ended
    raise RingError(
        f"{came} came from {address}, expected rank {source.rank} of this run, "
        f"epoch {gathering.epoch}, plan {gathering.plan}",
        "another ring uses these ports, or a host was not deployed to; stop it, or deploy again",
    )


def _read(connection: socket.socket, size: int) -> bytes:
    """``size`` bytes, or those that came before the end or the time-out."""
    data, deadline = b"", time.monotonic() + _HELLO_SECONDS
    with contextlib.suppress(OSError):
        while len(data) < size:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            more = connection.recv(size - len(data))
            if not more:
                break
            data += more
    return data


def _is_closed(connection: socket.socket) -> bool:
    """The other side has closed it, or is gone. Data that waits is left there."""
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _printable(text: bytes) -> str:
    return ascii(text.rstrip(b"\0").decode("ascii", "replace"))[1:-1]


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
    return RingError(
        f"rank {peer.rank} on {peer.host} ({peer.address}:{peer.link_port}) "
        f"did not come within {seconds:.0f} s: {problem}",
        "check that the hosts' addresses reach each other on the ring's ports (firewall, wrong interface)",
    )


def _left(peer: Member, error: OSError | None) -> RingError:
    return RingError(
        f"rank {peer.rank} on {peer.host} left while the ring was joining" + (f": {error}" if error else ""),
        f"see the log of rank {peer.rank}",
        blames=peer.rank,
    )

"""Opens MLX's distributed group for this rank and puts arrays on it.

Owns the environment that MLX reads and the one communication stream. Knows nothing of messages
(`ringcore.rank.link`). Setup facts: the last rank connects first, an accept waits without a time-out
and holds Python's lock, a connect gives up after 31 s, and a group that lost a peer never works again.
"""

import contextlib
import faulthandler
import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import mlx.core as mx

from ringcore.rank.doorbell import Doorbell
from ringcore.rank.meeting import MEETING_SECONDS, Gathering, meet
from ringcore.spec.deployment import Deployment, Member
from ringcore.spec.errors import RingError

JOIN_SECONDS = 40  # for MLX alone, all peers being there; its own connect gives up after 31
# MLX's ring connects from the last rank to rank 0 first, and tries again only after a second.
HEAD_START_SECONDS = 0.1


class GroupWire:
    """Arrays from ``source`` and to ``target`` (ranks), each evaluated at once on one stream."""

    def __init__(
        self, group: mx.distributed.Group, source: Member, target: Member, backend: str, doorbell: Doorbell
    ) -> None:
        self._group = group
        self._doorbell = doorbell
        self._source = source
        self._target = target
        self._stream = mx.new_stream(mx.gpu if backend == "nccl" else mx.cpu)

    def send(self, array: mx.array) -> None:
        """Returns when the bytes are with the kernel. Raises `RingError` naming the link."""
        try:
            mx.eval(mx.distributed.send(array, self._target.rank, group=self._group, stream=self._stream))
        except RuntimeError as error:
            raise _broken("to", self._target, error) from error

    @property
    def waiting(self) -> bool:
        """Whether something is there to be received, as far as can be seen from outside."""
        return self._doorbell.rung

    def receive(self, shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
        """Blocks until the array is there. Raises `RingError` naming the link."""
        self._doorbell.wait()
        try:
            array = mx.distributed.recv(
                shape, dtype, self._source.rank, group=self._group, stream=self._stream
            )
            mx.eval(array)
        except RuntimeError as error:
            raise _broken("from", self._source, error) from error
        return array


def neighbours(deployment: Deployment) -> tuple[Member, Member]:
    """The member this rank receives from, and the one it sends to."""
    count = len(deployment.members)
    towards = -1 if deployment.plan.order == "reverse" else 1
    source = deployment.members[(deployment.rank - towards) % count]
    return source, deployment.members[(deployment.rank + towards) % count]


def join(deployment: Deployment, epoch: int, seconds: float = MEETING_SECONDS) -> GroupWire:
    """Open the links to both neighbours. Raises `RingError` when the backend or a peer is missing."""
    _environment(deployment, epoch)
    source, target = neighbours(deployment)
    gathering = Gathering(run_id=deployment.run_id, epoch=epoch, plan=deployment.plan.digest)
    meet(deployment.me, source, target, gathering, seconds)
    if deployment.me == deployment.members[-1]:
        time.sleep(HEAD_START_SECONDS)
    doorbell = Doorbell()
    # Other backends open sockets on which nothing of a receive is ever to be seen.
    listening = doorbell.listening() if deployment.backend == "ring" else contextlib.nullcontext()
    try:
        with _bounded(), listening:
            group = mx.distributed.init(strict=True, backend=deployment.backend)
    except (RuntimeError, ValueError) as error:
        peers = ", ".join(f"{m.host} ({m.address}:{m.link_port})" for m in {source, target})
        raise RingError(
            f"the {deployment.backend} link to {peers} could not be opened: {error}",
            "check that the addresses of the hosts reach each other on the ring's ports",
        ) from error
    if group.size() != len(deployment.members) or group.rank() != deployment.rank:
        raise RingError(
            f"MLX opened a group as rank {group.rank()} of {group.size()}, "
            f"the plan says rank {deployment.rank} of {len(deployment.members)}",
            "remove MLX_* variables from the environment of the hosts",
        )
    return GroupWire(group, source, target, deployment.backend, doorbell)


def _environment(deployment: Deployment, epoch: int) -> None:
    """MLX takes its configuration from the environment only."""
    hosts = [[f"{member.address}:{member.link_port}"] for member in deployment.members]
    path = Path(f"links-{deployment.rank}.json")
    temporary = path.with_suffix(f".{epoch}.{os.getpid()}")
    temporary.write_text(json.dumps(hosts))
    temporary.replace(path)
    leader = deployment.leader
    os.environ["MLX_RANK"] = str(deployment.rank)
    os.environ["MLX_HOSTFILE"] = str(path.resolve())
    if deployment.backend == "nccl":
        os.environ["MLX_WORLD_SIZE"] = str(len(deployment.members))
        os.environ["NCCL_HOST_IP"] = leader.address
        os.environ["NCCL_PORT"] = str(leader.link_port)
    if deployment.backend == "jaccl":
        os.environ["MLX_JACCL_COORDINATOR"] = f"{leader.address}:{leader.link_port}"
        if "MLX_IBV_DEVICES" not in os.environ:
            raise RingError(
                "the jaccl backend needs MLX_IBV_DEVICES, which is not set",
                "set it to the file of RDMA devices on every host, or use backend = 'ring'",
            )


@contextlib.contextmanager
def _bounded() -> Generator[None]:
    """MLX's init holds Python's lock, so no thread of ours can end the process: a C-level timer does."""
    faulthandler.dump_traceback_later(JOIN_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _broken(direction: str, peer: Member, error: Exception) -> RingError:
    where = f"rank {peer.rank} on {peer.host} ({peer.address}:{peer.link_port})"
    return RingError(
        f"the link {direction} {where} broke: {error}",
        f"see the log of rank {peer.rank}; the ring must be started again",
        blames=peer.rank,
    )

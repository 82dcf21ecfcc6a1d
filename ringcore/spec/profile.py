"""The operator's intention: one TOML file as typed values. Reading and checking it is `profile_file`."""

from typing import Literal

from msgspec import Struct

Backend = Literal["ring", "jaccl", "nccl", "mpi"]
Order = Literal["reverse", "forward"]
Objective = Literal["throughput", "memory", "equal"]
LOCAL = "local"  # value of `hosts.ssh` that means: this machine, through an embedded SSH server on loopback


class RingOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[ring]``. ``port`` is the first of the ring's ports: the leader's agent listens on it,
    rank *n*'s link on ``port + 1 + n``. ``layers`` counts layers by hand, rank 0 first."""

    backend: Backend = "ring"
    order: Order = "reverse"
    objective: Objective = "throughput"
    layers: tuple[int, ...] = ()
    context: int = 8192
    sequences: int = 4
    port: int = 7600
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    prefill_chunk: int = 256


class ApiOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[api]``: where the gateway listens on the leader's host."""

    port: int = 8100
    bind: str = "127.0.0.1"


class HostOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[hosts]]``; their order is the rank order, the first is the leader.

    ``ssh`` is ``[user@]host[:port]``, or ``local``. ``address`` is the host's IPv4 address on the
    ring's network. ``memory_bytes`` (``memory`` in the file) is a ceiling for the rank, None for
    what the facts say. ``python`` is an interpreter to use as it is, ``home`` replaces ``~/.mlxring``.
    """

    name: str
    ssh: str
    address: str
    memory_bytes: int | None = None
    python: str = ""
    home: str = ""
    model: str = ""  # path of the model on this host, when it differs from the profile's


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ring. ``path`` is the file it was read from ("" when made in memory)."""

    name: str
    model: str
    hosts: tuple[HostOptions, ...]
    ring: RingOptions = RingOptions()
    api: ApiOptions = ApiOptions()
    path: str = ""

    @property
    def leader(self) -> HostOptions:
        return self.hosts[0]

"""The operator's intention: one TOML file as typed values. Reading and checking it is `profile_file`.

The limits of each key stand here, in its type; `profile_schema` reads them from it.
"""

import ipaddress
import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

Backend = Literal["ring", "jaccl", "nccl", "mpi"]
Order = Literal["reverse", "forward"]
Objective = Literal["throughput", "latency", "memory", "equal"]
Head = Literal["auto", "last"]
Weights = Literal["auto", "path", "push", "hub"]
LOCAL = "local"  # value of `hosts.ssh` that means: this machine, through an embedded SSH server on loopback
DEMO_MODEL = "demo"  # value of `model` that means: SmolLM2-135M-Instruct, made once in this user's cache

REPOSITORY = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9][A-Za-z0-9._/-]*)?"
)

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=40,
        extra={"expected": "a name of letters, digits, '-', '_' and '.' that starts with a letter or digit"},
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535)]
Layers = Annotated[int, Meta(ge=1, le=10_000)]


class RingOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[ring]``. ``port`` is the first of the ring's ports: the leader's agent listens on it,
    rank *n*'s link on ``port + 1 + n``. ``layers`` counts layers by hand, rank 0 first.
    ``arrange`` lets the planner choose the order of the hosts behind the leader.
    ``prefill_chunk``: tokens of a prompt that go through the ring at once; ``step_tokens``: of those at most
    so many while answers run. 0: automatic (`planning.chunk`, `engine.pace`).
    ``head``: who computes logits; "auto": both ranks of a ring of two where that is faster (`planning.head`),
    "last": the last stage alone.
    ``allow_unverified`` tries architectures that nobody ran in stages (see `planning.architectures`)."""

    backend: Backend = "ring"
    order: Order = "reverse"
    objective: Objective = "throughput"
    arrange: bool = False
    layers: tuple[Layers, ...] = ()
    context: Annotated[int, Meta(ge=16, le=16_777_216)] = 8192
    sequences: Annotated[int, Meta(ge=1, le=256)] = 4
    port: Port = 7600
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    prefill_chunk: Annotated[int, Meta(ge=0, le=8192)] = 0
    step_tokens: Annotated[int, Meta(ge=0, le=8192)] = 0
    head: Head = "auto"
    allow_unverified: bool = False

    @property
    def may_share_head(self) -> bool:
        """Over other links than MLX's own ring nobody can see what has come, so nothing overtakes there
        (`ringcore.rank.inbox`), and sharing would make answers slower."""
        return self.head == "auto" and self.backend == "ring"


class ApiOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[api]``: where the gateway listens on the leader's host, and who may ask.

    ``key`` says when a key is asked for: "auto" whenever ``bind`` is not loopback. ``origins`` are the
    web pages whose scripts may call the API (CORS). ``tls_cert`` and ``tls_key`` are PEM files on the
    leader's host.
    """

    port: Port = 8100
    bind: str = "127.0.0.1"
    key: Literal["auto", "always", "never"] = "auto"
    origins: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def only_here(self) -> bool:
        """Nobody beyond the leader's host reaches it."""
        try:
            return ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return False

    @property
    def asks_key(self) -> bool:
        return self.key == "always" or (self.key == "auto" and not self.only_here)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"


LEAST_BLOCK_TOKENS, MOST_BLOCK_TOKENS = 16, 4096


class CacheOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[cache]``: the caches of sequences. ``kv_bits``: of how many bits keys and values are, 16 for as they
    are computed.

    What is kept of sequences that are over, so that a beginning seen before is not computed again:
    ``memory_bytes`` (``memory`` in the file) counts all ranks together; 0 for nothing, None for a part
    of what the plan leaves free. ``disk_bytes`` (``disk``) counts all hosts together, 0 for no files; what
    nobody used for ``ttl`` hours is removed from there (0: never). It is kept in blocks of ``block_tokens``;
    0 for as many as suit the model's caches."""

    memory_bytes: int | None = None
    disk_bytes: int = 0
    ttl: Annotated[int, Meta(ge=0, le=87_600)] = 168
    block_tokens: Annotated[int, Meta(ge=0, le=MOST_BLOCK_TOKENS)] = 0
    kv_bits: Literal[4, 8, 16] = 16

    @property
    def bits(self) -> int:
        """As a plan has them: 0 for as they are computed."""
        return 0 if self.kv_bits == 16 else self.kv_bits


class HostOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[hosts]]``; their order is the rank order, the first is the leader.

    ``ssh`` is ``[user@]host[:port]``, or ``local``. ``address`` is the host's IPv4 address on the
    ring's network. ``memory_bytes`` (``memory`` in the file) is a ceiling for the rank, None for
    what the facts say. ``python`` is an interpreter to use as it is, ``home`` replaces ``~/.mlxring``.
    ``gpu`` is the card to compute on, as ``nvidia-smi`` numbers them; None: see `planning.cards`.
    """

    name: Name
    ssh: str
    address: str
    memory_bytes: int | None = None
    python: str = ""
    home: str = ""
    gpu: Annotated[int, Meta(ge=0, le=63)] | None = None
    model: str = ""  # path of the model on this host, when it differs from the profile's


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ring. ``path`` is the file it was read from ("" when made in memory).

    ``model`` is a folder (``~`` is each machine's own home), a repository of the Hugging Face hub
    (``owner/name`` or ``owner/name@revision``), or ``demo``. ``weights`` says how hosts come by what their
    layers need: the folder lies there (``path``), this machine has it and sends each its part (``push``), or
    each fetches the files of its part (``hub``); ``auto`` takes the hub for a repository, else the path, and
    sends to those hosts that have no such folder while this machine has.
    """

    name: Name
    model: str
    hosts: Annotated[tuple[HostOptions, ...], Meta(min_length=1, max_length=8)]
    weights: Weights = "auto"
    ring: RingOptions = RingOptions()
    api: ApiOptions = ApiOptions()
    cache: CacheOptions = CacheOptions()
    path: str = ""

    @property
    def from_hub(self) -> bool:
        """Whether ``model`` names a repository of the hub."""
        return REPOSITORY.fullmatch(self.model) is not None

    @property
    def leader(self) -> HostOptions:
        return self.hosts[0]

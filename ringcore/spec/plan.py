"""Which rank holds which layers, and what that takes. Made by `ringcore.planning`, checked here."""

import hashlib

import msgspec
from msgspec import Struct, structs

from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.profile import Head, Order
from ringcore.spec.shard import Shard


class Stage(Struct, frozen=True, kw_only=True):
    """One rank's part. All sizes in bytes; ``ceiling_source`` says where ``ceiling_bytes`` came from.

    ``bytes_per_second`` is how fast the rank reads memory, ``link_seconds`` how long a small message
    takes to its neighbours, at ``link_bytes_per_second`` a long one, ``seconds`` what one decode step is
    expected to take here. ``gpu``: the card to compute on, as ``nvidia-smi`` numbers them; None: MLX's own
    choice.
    """

    rank: int
    host: str
    shard: Shard
    weight_bytes: int
    kv_bytes: int
    workspace_bytes: int
    reserve_bytes: int
    ceiling_bytes: int
    ceiling_source: str
    bytes_per_second: float = 0.0
    speed_source: str = ""
    link_seconds: float = 0.0
    link_bytes_per_second: float = 0.0
    seconds: float = 0.0
    gpu: int | None = None
    prefix_bytes: int = 0  # this rank's part of the plan's ``prefix_blocks``

    @property
    def need_bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes + self.workspace_bytes + self.prefix_bytes

    @property
    def free_bytes(self) -> int:
        return self.ceiling_bytes - self.reserve_bytes - self.need_bytes


class Plan(Struct, frozen=True, kw_only=True):
    """``stages`` in rank order. Pipeline order is by ``shard.start``; see `pipeline`. ``step_tokens``: of a
    chunk at most so many while answers run, 0 where their pace decides. ``prefix_blocks``: blocks of
    ``block_tokens`` of earlier sequences that every rank has room for, under the profile's
    ``prefix_memory_bytes``; ``prefix_disk_blocks`` may lie in files, unused for ``prefix_ttl_hours`` at most
    (0: for ever). ``kv_bits``: in how many bits caches are kept of layers that keep all tokens; 0: as they
    are computed. ``head_rows``: rows of the head (tokens of the vocabulary, from 0 on) whose logits the first
    of two stages computes for the last one; 0: the last computes all. ``head`` is what the profile allows.

    ``tokens_per_second`` is expected of one conversation alone, ``tokens_per_second_together`` of all
    sequences at once. ``hash`` is the `digest` when the plan was made: who reads it from a file checks it.
    ``card`` is what the plan was made from, whatever the ``kv_bits``: boundaries can be moved without the
    hosts.
    """

    model: str
    architecture: str
    revision: str
    dtype: str
    order: Order
    context: int
    sequences: int
    prefill_chunk: int
    stages: tuple[Stage, ...]
    prefix_blocks: int = 0
    block_tokens: int = 64
    prefix_memory_bytes: int | None = None
    prefix_disk_blocks: int = 0
    prefix_ttl_hours: int = 0
    explanation: tuple[str, ...] = ()
    step_tokens: int = 0
    kv_bits: int = 0
    head_rows: int = 0
    head: Head = "auto"
    tokens_per_second: float = 0.0
    tokens_per_second_together: float = 0.0
    card: ModelCard | None = None
    hash: str = ""

    @property
    def pipeline(self) -> tuple[Stage, ...]:
        """Stages in the order in which a hidden state passes them (layer 0 first)."""
        return tuple(sorted(self.stages, key=lambda stage: stage.shard.start))

    @property
    def digest(self) -> str:
        """Hash of everything the ranks must agree on."""
        bare = structs.replace(self, hash="")
        return hashlib.sha256(msgspec.json.encode(bare)).hexdigest()[:16]

    def sealed(self) -> "Plan":
        """This plan with its own hash."""
        return structs.replace(self, hash=self.digest)

    def check(self) -> None:
        """Raises `PlanError` when ranks are misnumbered, layers are missing, doubled or none, the head is
        shared as it cannot be, or the plan was changed after it was made."""
        if self.hash and self.hash != self.digest:
            raise PlanError(
                f"the plan says its hash is {self.hash}, what it holds makes {self.digest}",
                "make the plan again; it was changed or damaged on its way",
            )
        if not self.stages:
            raise PlanError("the plan has no ranks", "name at least one host in the profile")
        if [stage.rank for stage in self.stages] != list(range(len(self.stages))):
            raise PlanError("the plan's ranks are not numbered 0, 1, 2, ... in order", "make the plan again")
        total = self.stages[0].shard.total
        at = 0
        for stage in self.pipeline:
            if stage.shard.total != total:
                raise PlanError(
                    f"rank {stage.rank} counts {stage.shard.total} layers, rank 0 counts {total}",
                    "make the plan again from one model",
                    host=stage.host,
                    rank=stage.rank,
                )
            if stage.shard.start != at:
                kind = "a gap" if stage.shard.start > at else "an overlap"
                low, high = sorted((at, stage.shard.start))
                raise PlanError(
                    f"the plan has {kind} at layers {low}..{high}",
                    "let each rank's range start where the one before it ends",
                    host=stage.host,
                    rank=stage.rank,
                )
            at = stage.shard.end
        if at != total:
            raise PlanError(
                f"the plan has a gap at layers {at}..{total}", "give the last layers to a rank, or plan again"
            )
        expected = sorted(self.stages, key=lambda stage: stage.rank, reverse=self.order == "reverse")
        if tuple(expected) != self.pipeline:
            raise PlanError(
                f"the ranks do not follow the order {self.order!r}",
                "neighbouring ranks must hold neighbouring layers; plan again",
            )
        self._check_head()

    def _check_head(self) -> None:
        rows, count = self.head_rows, len(self.stages)
        if rows < 0 or (self.card is not None and rows >= self.card.vocab_size):
            most = f" of {self.card.vocab_size}" if self.card is not None else ""
            raise PlanError(
                f"the plan gives the first stage {rows}{most} rows of the head",
                "make the plan again; each of the two stages has some rows, or the last one all",
            )
        if rows and count != 2:
            raise PlanError(
                f"the plan shares the head's {rows} rows in a ring of {count} ranks",
                "make the plan again; the head is shared between two ranks only",
            )

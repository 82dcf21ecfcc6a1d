"""How long the stages of a plan take for a token, and what that makes a second: estimates, pure.

A stage reads its weights and the caches of the rows of its step, and spends a moment on each layer
whatever its size; the answer travels over the links between neighbours. Knows nothing of memory.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from msgspec import Struct

from ringcore.planning.kept import ITEM_BYTES
from ringcore.planning.needs import Needs
from ringcore.spec.card import ModelCard
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Stage
from ringcore.spec.profile import HostOptions

# Fitted to one decode step of Llama-3-8B's shape, 4-bit, on an H100 (docs/performance.md): building and
# handing over a layer's kernels takes that long on the host however fast the GPU is.
LAYER_SECONDS = 0.00012
# Bytes of dense weights that a processor's core reads in the time it multiplies a byte of 4-bit weights: the
# demo model's 134 million weights took it 95 ms, whatever their bits (docs/performance.md).
UNPACKING = 24
# Tokens of a sequence whose caches a step is expected to read: most are far from the end of their context.
CONVERSATION = 512


class Link(NamedTuple):
    """``seconds`` takes a small message one way from a rank to its neighbour."""

    seconds: float
    bytes_per_second: float


# The seconds of loopback were measured, all else is assumed.
_LINKS = {
    "loopback": Link(0.0001, 2e9),
    "thunderbolt": Link(0.0003, 2.5e9),
    "ethernet": Link(0.0005, 110e6),
    "wifi": Link(0.004, 20e6),
}
_UNKNOWN_LINK = _LINKS["ethernet"]


class Rates(Struct, frozen=True, kw_only=True):
    """``alone``: tokens a second of one conversation; ``together``: of all sequences at once.

    ``slowest`` is the rank whose step takes longest, ``step_seconds`` that time; ``layers_seconds`` the
    longest that the layers of a rank take, without any head: a chunk of a prompt waits for these.
    """

    alone: float
    together: float
    slowest: int
    step_seconds: float
    layers_seconds: float


class Reads:
    """Bytes that a step of ``rows`` sequences reads of a run of layers.

    On a processor a quantised weight takes the same time whatever its bits, and many times that of reading
    it, so it counts there as the bytes that could be read meanwhile.
    """

    def __init__(self, needs: Needs, rows: int) -> None:
        card = needs.card
        tokens = min(needs.context // 2, CONVERSATION)
        unpacking = on_processors(card)
        sizes: list[int] = []
        for layer in card.layers:
            weights = min(layer.weight_bytes, rows * (layer.read_bytes_per_token or layer.weight_bytes))
            if unpacking:
                weights = weights * layer.four_bit_bytes * UNPACKING // layer.weight_bytes
            kept = min(tokens, layer.kv_window) if layer.kv_window else tokens
            sizes.append(weights + rows * (kept * layer.kv_bytes_per_token + layer.state_bytes_per_sequence))
        self.sums = tuple(accumulate(sizes, initial=0))
        self.norm = card.norm_bytes
        self.head = card.four_bit_head_bytes * UNPACKING if unpacking else card.head_bytes
        self.total = needs.total

    def seconds(self, bytes_per_second: float, start: int, end: int) -> float:
        """Of layers, and of the norm behind the last; the head comes on top."""
        size = self.sums[end] - self.sums[start] + (self.norm if end == self.total else 0)
        return size / bytes_per_second + (end - start) * LAYER_SECONDS


class Times(NamedTuple):
    """Seconds of a step, in rank order. ``heads``: of the rows of the head that a rank multiplies;
    ``logits``: until those that it computed for another are over the link. ``travel``: of all messages of a
    token. ``first`` and ``last``: ranks of these stages."""

    layers: tuple[float, ...]
    heads: tuple[float, ...]
    logits: tuple[float, ...]
    travel: float
    first: int
    last: int

    @property
    def stages(self) -> tuple[float, ...]:
        parts = zip(self.layers, self.heads, self.logits, strict=True)
        return tuple(sum(each) for each in parts)

    @property
    def round(self) -> float:
        """Until the token is drawn and back: stages come one behind the other, parts of a head at once."""
        return self.travel + sum(self.layers) + max(self.heads) + sum(self.logits)


def on_processors(card: ModelCard) -> bool:
    """Whether quantised weights meet float32, which only processors compute in (`console.cluster.model`)."""
    known = card.four_bit_head_bytes and all(layer.four_bit_bytes for layer in card.layers)
    return bool(known and card.quantization and card.dtype == "float32")


def rows_together(needs: Needs, stages: int) -> int:
    """Sequences that share a step when as many groups run as there are stages; one where a step of two takes
    as long as two steps, or caches cannot be joined (`ringcore.rank.batching`)."""
    if needs.kv_bits or on_processors(needs.card):
        return 1
    return -(-needs.sequences // min(needs.sequences, stages))


def link_of(host: HostOptions, facts: HostFacts) -> Link:
    """The link that ``host.address`` is on."""
    kind = next((each.kind for each in facts.addresses if each.address == host.address), "")
    return _LINKS.get(kind, _UNKNOWN_LINK)


def hops(links: Sequence[float]) -> float:
    """Seconds that a token is on the way round the ring: each link once, as half of two hops."""
    return sum(links) if len(links) > 1 else 0.0


def times(stages: Sequence[Stage], needs: Needs, rows: int, head_rows: int) -> Times:
    """Of a step of ``rows`` sequences. ``stages`` in rank order, ``head_rows`` as a plan has them."""
    reads = Reads(needs, rows)
    first = min(stages, key=lambda stage: stage.shard.start).rank
    last = max(stages, key=lambda stage: stage.shard.start).rank
    heads, logits = [0.0] * len(stages), [0.0] * len(stages)
    whole, part = reads.head / stages[last].bytes_per_second, head_rows / needs.card.vocab_size
    heads[last] = whole * (1 - part)
    travel = hops([stage.link_seconds for stage in stages])
    if head_rows:
        heads[first] = reads.head * part / stages[first].bytes_per_second
        size = rows * head_rows * ITEM_BYTES.get(needs.card.dtype, 4)
        logits[first] = size / min(stage.link_bytes_per_second for stage in stages)
        travel *= 2  # the hidden state goes on to the first stage, its logits come back
    return Times(
        layers=tuple(
            reads.seconds(stage.bytes_per_second, stage.shard.start, stage.shard.end) for stage in stages
        ),
        heads=tuple(heads),
        logits=tuple(logits),
        travel=travel,
        first=first,
        last=last,
    )


def rates(stages: Sequence[Stage], needs: Needs, head_rows: int) -> Rates:
    """``stages`` in rank order, with their step's ``seconds``."""
    rows = rows_together(needs, len(stages))
    slowest = max(stages, key=lambda stage: stage.seconds)
    groups = -(-needs.sequences // rows)
    took = times(stages, needs, rows, head_rows)
    cycle = max(groups * slowest.seconds, took.round)
    return Rates(
        alone=1 / times(stages, needs, 1, head_rows).round,
        together=needs.sequences / cycle,
        slowest=slowest.rank,
        step_seconds=slowest.seconds,
        layers_seconds=max(took.layers),
    )

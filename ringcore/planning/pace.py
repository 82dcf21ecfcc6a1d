"""How long the stages of a plan take for a token, and what that makes a second: estimates, pure.

A stage reads its weights and the caches of the rows of its step, and spends a moment on each layer
whatever its size; the answer travels over the links between neighbours. Knows nothing of memory.
"""

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

from ringcore.planning.needs import Needs
from ringcore.spec.card import ModelCard
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Stage
from ringcore.spec.profile import HostOptions

# Fitted to one decode step of Llama-3-8B's shape, 4-bit, on an H100 (docs/performance.md): building and
# handing over a layer's kernels takes that long on the host however fast the GPU is.
LAYER_SECONDS = 0.00012
# One way from a rank to its neighbour. Loopback was measured, the others are assumed.
_LINKS = {"loopback": 0.0001, "thunderbolt": 0.0003, "ethernet": 0.0005, "wifi": 0.004}
_UNKNOWN_LINK = 0.0005
# Bytes of dense weights that a processor's core reads in the time it multiplies a byte of 4-bit weights: the
# demo model's 134 million weights took it 95 ms, whatever their bits (docs/performance.md).
UNPACKING = 24
# Tokens of a sequence whose caches a step is expected to read: most are far from the end of their context.
CONVERSATION = 512


class Rates(Struct, frozen=True, kw_only=True):
    """``alone``: tokens a second of one conversation; ``together``: of all sequences at once.

    ``slowest`` is the rank whose step takes longest, ``step_seconds`` that time.
    """

    alone: float
    together: float
    slowest: int
    step_seconds: float


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
        head = card.four_bit_head_bytes * UNPACKING if unpacking else card.head_bytes
        self.last = card.norm_bytes + head
        self.total = needs.total

    def of(self, start: int, end: int) -> int:
        return self.sums[end] - self.sums[start] + (self.last if end == self.total else 0)

    def seconds(self, bytes_per_second: float, start: int, end: int) -> float:
        return self.of(start, end) / bytes_per_second + (end - start) * LAYER_SECONDS


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


def link_seconds(host: HostOptions, facts: HostFacts) -> float:
    """How long a message takes over the link that ``host.address`` is on."""
    kind = next((each.kind for each in facts.addresses if each.address == host.address), "")
    return _LINKS.get(kind, _UNKNOWN_LINK)


def hops(links: Sequence[float]) -> float:
    """Seconds that a token is on the way round the ring: each link once, as half of two hops."""
    return sum(links) if len(links) > 1 else 0.0


def rates(stages: Sequence[Stage], needs: Needs) -> Rates:
    """``stages`` in rank order, with their step's ``seconds``."""
    one = Reads(needs, 1)
    travel = hops([stage.link_seconds for stage in stages])
    alone = travel + sum(
        one.seconds(stage.bytes_per_second, stage.shard.start, stage.shard.end) for stage in stages
    )
    slowest = max(stages, key=lambda stage: stage.seconds)
    groups = -(-needs.sequences // rows_together(needs, len(stages)))
    cycle = max(groups * slowest.seconds, travel + sum(stage.seconds for stage in stages))
    return Rates(
        alone=1 / alone,
        together=needs.sequences / cycle,
        slowest=slowest.rank,
        step_seconds=slowest.seconds,
    )

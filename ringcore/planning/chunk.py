"""How many tokens of a prompt go through the ring at once, where the profile leaves that to us. Pure.

A GPU wants long chunks, and the activations of a chunk take memory: the longest that the plan has room for is
best. On a processor a short chunk computes as fast, and answers wait less for it; the shortest where weights
are quantised, since a processor unpacks them anew for every token.
"""

from collections.abc import Sequence

from ringcore.planning.pace import on_processors
from ringcore.spec.card import ModelCard
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import RingOptions

AUTOMATIC = 0
ON_CPU = (256,)
ON_CPU_QUANTISED = (16,)  # a stage is idle while the one before it computes the first chunk
ON_GPU = (2048, 1024, 512, 256)  # mlx-lm's own first


def chunks(card: ModelCard, ring: RingOptions, facts: Sequence[HostFacts]) -> tuple[int, ...]:
    """Chunks to plan with, the best first; the last is the least that is worth having. Never above the
    context. One chunk where the profile names it."""
    if ring.prefill_chunk != AUTOMATIC:
        return (ring.prefill_chunk,)
    if all(computes_on_gpu(fact) for fact in facts):
        sizes = ON_GPU
    else:
        sizes = ON_CPU_QUANTISED if on_processors(card) else ON_CPU
    return tuple(dict.fromkeys(min(size, ring.context) for size in sizes))


def computes_on_gpu(facts: HostFacts) -> bool:
    """Whether a rank on this host computes on a GPU."""
    return facts.os == "darwin" or facts.cuda is not None

"""How many tokens of a prompt go through the ring at once, where the profile leaves that to us. Pure.

A GPU wants long chunks, and the activations of a chunk take memory: the longest that the plan has room for is
best. On a processor a short chunk computes as fast, and answers wait less for it.
"""

from collections.abc import Sequence

from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import RingOptions

AUTOMATIC = 0
ON_CPU = (256,)
ON_GPU = (2048, 1024, 512, 256)  # mlx-lm's own first


def chunks(ring: RingOptions, facts: Sequence[HostFacts]) -> tuple[int, ...]:
    """Chunks to plan with, the best first; the last is the least that is worth having. Never above the
    context. One chunk where the profile names it."""
    if ring.prefill_chunk != AUTOMATIC:
        return (ring.prefill_chunk,)
    sizes = ON_GPU if all(computes_on_gpu(fact) for fact in facts) else ON_CPU
    return tuple(dict.fromkeys(min(size, ring.context) for size in sizes))


def computes_on_gpu(facts: HostFacts) -> bool:
    """Whether a rank on this host computes on a GPU."""
    return facts.os == "darwin" or facts.cuda is not None

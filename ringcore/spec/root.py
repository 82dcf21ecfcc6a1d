"""What the names of the prefix cache's blocks hang on: equal roots make equal blocks of equal tokens.

The root says which weights computed a block, and how. It hangs on neither hosts nor the split: so a block
that one host has in a file is good on every other, and whatever rank holds its layers. Another training of
the same model, which has the same config and headers, has other weights in memory and so another root.
"""

import hashlib
from collections.abc import Mapping

from ringcore.spec.control import Fingerprints
from ringcore.spec.plan import Plan

_ROOT_BYTES = 16


def root_of(plan: Plan, held: Mapping[int, Fingerprints]) -> str:
    """32 hex digits, from what each rank has told of its weights; "" while a rank's word is missing."""
    if any(stage.rank not in held for stage in plan.stages):
        return ""
    told = [held[stage.rank] for stage in plan.pipeline]
    layers = [layer for each in told for layer in each.layers]
    if len(layers) != plan.stages[0].shard.total:
        return ""
    code = " ".join(sorted({each.code for each in told}))
    return root_name(
        plan.model, plan.revision, plan.dtype, str(plan.kv_bits), code, told[0].embedding, *layers
    )


def root_name(*facts: str) -> str:
    """Of facts in their order."""
    return hashlib.blake2b("\0".join(facts).encode(), digest_size=_ROOT_BYTES).hexdigest()

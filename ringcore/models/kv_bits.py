"""A model's empty caches with keys and values in few bits, where mlx-lm has a class for that.

From the first token on: a number is rounded once, with its group of one token and head, so that what comes
of it hangs on neither chunks nor stages.
"""

from collections.abc import Sequence
from typing import Any

from mlx_lm.models.cache import CacheList, KVCache, QuantizedKVCache

from ringcore.planning.kept import Kept, group_of
from ringcore.planning.kv_bits import reason_against
from ringcore.spec.errors import PlanError


def in_bits(
    whole: Sequence[Any], owners: Sequence[int], layers: Sequence[Kept], architecture: str, bits: int
) -> list[Any]:
    """``whole`` with a `QuantizedKVCache` in place of each `KVCache`; others stay. ``owners``: the layer of
    each cache, below 0 for none; ``layers``: what each layer keeps.

    Raises `PlanError` when the architecture or its heads do not allow it.
    """
    reason = reason_against(architecture)
    if reason:
        raise _error(bits, reason)
    return [
        _entry(entry, layers[owner], bits) if owner >= 0 else entry
        for entry, owner in zip(whole, owners, strict=True)
    ]


def _entry(entry: Any, layer: Kept, bits: int) -> Any:
    if type(entry) is CacheList:
        return CacheList(*(_entry(each, layer, bits) for each in entry.caches))
    if type(entry) is not KVCache or not layer.per_token:  # a layer may have one that it never uses
        return entry
    head = layer.head
    group = group_of(head)
    if not group:
        raise _error(
            bits, f"heads of {head} numbers cannot be grouped" if head else "its attention takes none"
        )
    return QuantizedKVCache(group_size=group, bits=bits)


def _error(bits: int, reason: str) -> PlanError:
    return PlanError(
        f"keys and values cannot be kept in {bits} bits: {reason}",
        "remove kv_bits under [cache] in the profile and plan again",
    )

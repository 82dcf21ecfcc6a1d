"""Which sequences decode together: groups that change as little as can be. Pure.

A step takes one group through the stages; as many groups as there are stages are in flight at once. A
sequence that moves between groups costs every stage a copy of its KV cache, so groups change when a
sequence comes or goes, and otherwise only to even out a difference of two.
"""

from collections.abc import Sequence

Slots = tuple[int, ...]


def regroup(groups: Sequence[Slots], answering: Sequence[int], most: int, rows: int) -> tuple[Slots, ...]:
    """``groups`` over exactly the slots ``answering``, in order of arrival.

    Aims at ``most`` groups of even size; none has over ``rows`` members, so there are more when there
    must be.
    """
    here = frozenset(answering)
    kept = [[slot for slot in group if slot in here] for group in groups]
    kept = [group for group in kept if group]
    known = {slot for group in kept for slot in group}
    for slot in answering:
        if slot not in known:
            _join(kept, slot, most, rows)
    while kept and len(kept) < most and len(largest := max(kept, key=len)) > 1:
        kept.append([largest.pop()])
    while len(kept) > 1:
        smallest, largest = min(kept, key=len), max(kept, key=len)
        if len(largest) - len(smallest) < 2:
            break
        smallest.append(largest.pop())
    return tuple(tuple(group) for group in kept)


def _join(groups: list[list[int]], slot: int, most: int, rows: int) -> None:
    room = [group for group in groups if len(group) < rows]
    if len(groups) < most or not room:
        groups.append([slot])
    else:
        min(room, key=len).append(slot)

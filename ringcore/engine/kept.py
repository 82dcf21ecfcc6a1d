"""What is kept of earlier sequences: which blocks a sequence begins with and leaves behind, and the steps for it.

Joins the index with running sequences. Knows no messages, and not what else is on the ring.
"""

from collections import deque
from collections.abc import Callable

from ringcore.engine import prefix_steps
from ringcore.engine.limits import Limits
from ringcore.engine.prefix import Chain, PrefixIndex
from ringcore.engine.prefix_steps import Aside
from ringcore.engine.sequence import Sequence
from ringcore.engine.step import Row


class Kept:
    """``asides``: steps that are due, in this order, before any other. ``on_disk``: whether the leader's host
    has a block in a file."""

    def __init__(self, limits: Limits, on_disk: Callable[[bytes], bool]) -> None:
        self._places = limits.prefix_blocks
        self._index = PrefixIndex(limits.prefix_blocks, limits.prefix_root, on_disk)
        self._fetching: dict[int, Sequence] = {}  # by slot
        self.asides: deque[Aside] = deque()

    def chain(self, prompt: list[int]) -> Chain:
        """What is held of ``prompt``, for a sequence that `begin` then hears of."""
        return self._index.begin(prompt)

    def begin(self, sequence: Sequence) -> None:
        """With the blocks that are held, once those that lie on disk have come."""
        claim = self._index.fetch(sequence.chain, prefix_steps.FETCH_BLOCKS)
        if claim.places:
            sequence.fetching = claim
            self._fetching[sequence.slot] = sequence
            self.asides.append(prefix_steps.fetching(sequence.slot, claim))
            return
        sequence.cached = sequence.fed = sequence.chain.tokens
        self.asides += prefix_steps.loading(sequence.slot, sequence.chain.places)

    def fetched(self, row: Row) -> None:
        """A FETCH has come round with as many blocks as the row says."""
        sequence = self._fetching.pop(row.slot)
        claim, sequence.fetching = sequence.fetching, None
        assert claim is not None
        # The blocks are good even when nobody waits for them any more.
        chain = Chain() if sequence.ended else sequence.chain
        self.asides += prefix_steps.forgetting(self._index.arrived(chain, claim, max(0, row.token)))
        if not sequence.ended:
            self.begin(sequence)  # more may lie on disk

    def store(self, sequence: Sequence) -> None:
        """Store what of the sequence is computed and not held yet."""
        claim = self._index.extend(sequence.chain, sequence.known)
        self.asides += prefix_steps.storing(sequence.slot, claim)

    def end(self, sequence: Sequence) -> None:
        """It is over; what it computed stays until others need the room."""
        self.store(sequence)
        self._index.end(sequence.chain)

    def forget(self, blocks: int) -> int:
        """Have up to ``blocks`` go on all ranks, least recently used first; how many."""
        places = self._index.forget(blocks)
        self.asides += prefix_steps.forgetting(places)
        return len(places)

    def clear(self) -> None:
        """Nothing stays, in memory or in files, but what running sequences use."""
        self.forget(self._places)
        if self._places:
            self.asides.append(prefix_steps.CLEARING)

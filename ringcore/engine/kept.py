"""What is kept of earlier sequences: the blocks that a sequence begins with and leaves, and the steps for it.

Joins the index with running sequences. Knows no messages, and not what else is on the ring.
"""

from collections import deque

from ringcore.engine import prefix_steps
from ringcore.engine.elsewhere import Elsewhere
from ringcore.engine.limits import Keeping
from ringcore.engine.prefix import Chain, Claim, PrefixIndex
from ringcore.engine.prefix_steps import Aside
from ringcore.engine.sequence import Sequence
from ringcore.engine.step import Row
from ringcore.spec.control import Brought


class Kept:
    """``asides``: steps that are due, in this order, before any other. ``elsewhere``: which blocks lie in
    files, and where."""

    def __init__(self, keeping: Keeping, elsewhere: Elsewhere) -> None:
        self._keeping = keeping
        self._index = PrefixIndex(keeping.blocks, keeping.block_tokens, keeping.root, elsewhere.in_place)
        self._elsewhere = elsewhere
        self._waiting: dict[int, list[Sequence]] = {}  # by order
        self._fetching: dict[int, Sequence] = {}  # by slot
        self.asides: deque[Aside] = deque()

    def chain(self, prompt: list[int]) -> Chain:
        """What is held of ``prompt``, for a sequence that `begin` then hears of."""
        return self._index.begin(prompt)

    def begin(self, sequence: Sequence) -> None:
        """With the blocks that are held, once those that lie on disk have come, here or on other hosts."""
        order = self._elsewhere.order(sequence.chain.names[len(sequence.chain.places) :])
        if order is not None:
            sequence.fetching = Claim()
            self._waiting.setdefault(order, []).append(sequence)
            return
        claim = self._index.fetch(sequence.chain, prefix_steps.FETCH_BLOCKS)
        if claim.places:
            sequence.fetching = claim
            self._fetching[sequence.slot] = sequence
            self.asides.append(prefix_steps.fetching(sequence.slot, claim))
            return
        places, block_tokens = sequence.chain.places, self._keeping.block_tokens
        sequence.cached = sequence.fed = block_tokens * len(places)
        self.asides += prefix_steps.loading(sequence.slot, places, block_tokens)

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

    def brought(self, answer: Brought) -> None:
        """Blocks of other hosts are in place now, or will not be."""
        self._elsewhere.came(answer)
        for sequence in self._waiting.pop(answer.id, ()):
            sequence.fetching = None
            if not sequence.ended:
                self.begin(sequence)

    def until(self, sequence: Sequence) -> int:
        """Tokens to the next end of a block that no chunk may go across; 0: any may."""
        if not (self._keeping.blocks and self._keeping.at_ends):
            return 0
        return self._keeping.block_tokens - sequence.fed % self._keeping.block_tokens

    def must_be_known(self, sequence: Sequence) -> bool:
        """Whether the next token must be known before it goes on the ring: it completes a block that is
        stored at once, under a name that its tokens make."""
        keeping = self._keeping
        return bool(keeping.blocks) and keeping.at_once and (sequence.fed + 1) % keeping.block_tokens == 0

    def issued(self, sequence: Sequence, count: int) -> None:
        """The newest step on the ring takes the sequence ``count`` tokens further."""
        before, prompt = sequence.fed - count, len(sequence.request.prompt)
        if self._keeping.at_once:
            if before // self._keeping.block_tokens < sequence.fed // self._keeping.block_tokens:
                self._store(sequence, since=before // self._keeping.block_tokens)
        elif before < prompt <= sequence.fed:
            self._store(sequence)

    def end(self, sequence: Sequence) -> None:
        """It is over; what it computed stays until others need the room."""
        if not self._keeping.at_once:
            self._store(sequence)
        self._index.end(sequence.chain)
        for order, waiting in self._waiting.items():
            if sequence in waiting and all(each.ended for each in waiting):
                self._elsewhere.unwanted(order)

    def _store(self, sequence: Sequence, since: int = 0) -> None:
        """What of the sequence is computed and not held yet, from block ``since`` on."""
        tokens = sequence.known
        claim = self._index.extend(sequence.chain, tokens, min(sequence.fed, len(tokens)), since=since)
        self.asides += prefix_steps.storing(sequence.slot, claim, self._keeping.block_tokens)

    def forget(self, blocks: int) -> int:
        """Have up to ``blocks`` go on all ranks, least recently used first; how many."""
        places = self._index.forget(blocks)
        self.asides += prefix_steps.forgetting(places)
        return len(places)

    def clear(self) -> None:
        """Nothing stays, in memory or in files, but what running sequences use."""
        self.forget(self._keeping.blocks)
        self._elsewhere.clear()
        if self._keeping.blocks:
            self.asides.append(prefix_steps.CLEARING)

"""Which beginnings of earlier sequences the ring holds, by blocks of tokens: the leader's index. Pure.

A block is so many tokens with all that came before them: its name is a hash over the name of the
block before it and its own tokens, and the first of a chain hangs on a root that says which model's they
are. Every held block has a *place*, a number under which each rank keeps the KV of its own layers. The
index says what goes where; steps carry it around the ring in order, so all ranks hold the same blocks.

Whoever uses a block uses all before it, and these count as used later: so the least recently used block is
the end of a chain, and a held block's parent is held. (Not where it came from disk for a sequence that had
left; then nobody finds it before its parent is stored again.) Reads no clock and knows no arrays.
"""

import hashlib
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice, takewhile

from msgspec import Struct

NAME_BYTES = 16


class Chain:
    """The blocks of one running sequence: names of all that are complete, places of those that are held, the
    first ones of the sequence. What is in a chain stays until `PrefixIndex.end`."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.places: list[int] = []


class Claim(Struct, frozen=True):
    """Blocks to be stored. ``first`` is the number of the first in its sequence."""

    first: int = 0
    places: tuple[int, ...] = ()
    names: tuple[bytes, ...] = ()


class PrefixIndex:
    """``places``: how many blocks of ``block_tokens`` there may be; with 0 nothing is ever found or stored.
    ``on_disk``: whether the leader's host has a block in a file."""

    def __init__(
        self,
        places: int,
        block_tokens: int,
        root: bytes = b"",
        on_disk: Callable[[bytes], bool] = lambda _name: False,
    ) -> None:
        self._block_tokens = block_tokens
        self._on_disk = on_disk
        self._absent: set[bytes] = set()  # which some rank could not read
        self._root = root
        self._free = deque(range(places))
        self._held: OrderedDict[bytes, int] = OrderedDict()  # name -> place, least recently used first
        self._users: dict[bytes, int] = {}  # chains that a block is in
        self.places = places

    @property
    def held(self) -> int:
        """Blocks that are held."""
        return len(self._held)

    def begin(self, prompt: Sequence[int]) -> Chain:
        """The longest held beginning of ``prompt`` that leaves a token to compute, kept until `end`."""
        chain = Chain()
        if not self.places:
            return chain
        self._name(chain, prompt, (len(prompt) - 1) // self._block_tokens)
        self._keep_held(chain, len(chain.names))
        self._use(chain)
        return chain

    def extend(self, chain: Chain, tokens: Sequence[int], count: int, *, since: int = 0) -> Claim:
        """Places for the complete blocks of the first ``count`` of ``tokens``, which begin with those of
        ``chain``; what is not held yet must be stored in them. Blocks that no chain has make room, least
        recently used first; where too few do, the last blocks get no place. Blocks before ``since`` cannot
        be stored any more: where one of them is not held, there is no place for those behind it."""
        if not self.places:
            return Claim()
        complete = count // self._block_tokens
        self._name(chain, tokens, complete)
        self._keep_held(chain, complete)
        first = len(chain.places)
        if first < since:
            return Claim()
        names = chain.names[first:complete]  # of a prompt that is not all read yet there are names of more
        # Held without the block before it (that one went while this one came from disk): stored anew.
        self._free.extendleft(self._held.pop(name) for name in names if name in self._held)
        self._evict(len(names) - len(self._free))
        names = names[: len(self._free)]
        places = tuple(self._free.popleft() for _ in names)
        for name, place in zip(names, places, strict=True):
            self._held[name] = place
            self._users[name] = 1
        self._absent.difference_update(names)
        chain.places += places
        self._use(chain)
        return Claim(first, places, tuple(names))

    def fetch(self, chain: Chain, most: int) -> Claim:
        """Places for up to ``most`` blocks that follow those of ``chain`` and lie on disk. Nobody finds them
        there before `arrived`."""
        first = len(chain.places)
        names = list(islice(takewhile(self._may_come, chain.names[first:]), most))
        self._evict(len(names) - len(self._free))
        names = names[: len(self._free)]
        return Claim(first, tuple(self._free.popleft() for _ in names), tuple(names))

    def arrived(self, chain: Chain, claim: Claim, count: int) -> tuple[int, ...]:
        """The first ``count`` blocks of ``claim`` are in their places on all ranks. Returns places that are
        free again, of the others and of blocks that were stored meanwhile."""
        self._absent.update(claim.names[count : count + 1])
        for name, place in zip(claim.names[:count], claim.places, strict=False):
            self._held.setdefault(name, place)
        self._keep_held(chain, len(chain.names))
        self._use(chain)
        held = set(self._held.values())
        free = tuple(place for place in claim.places if place not in held)
        self._free.extend(free)
        return free

    def end(self, chain: Chain) -> None:
        """The sequence is over: its blocks may make room for others from now on."""
        for name in chain.names[: len(chain.places)]:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
        chain.places = []

    def forget(self, count: int) -> tuple[int, ...]:
        """Up to ``count`` blocks that no chain has go, least recently used first; their places."""
        return self._evict(count)

    def _name(self, chain: Chain, tokens: Sequence[int], blocks: int) -> None:
        for number in range(len(chain.names), blocks):
            before = chain.names[-1] if chain.names else self._root
            own = tokens[self._block_tokens * number : self._block_tokens * (number + 1)]
            packed = struct.pack(f"<{self._block_tokens}i", *own)
            chain.names.append(hashlib.blake2b(before + packed, digest_size=NAME_BYTES).digest())

    def _keep_held(self, chain: Chain, most: int) -> None:
        for name in chain.names[len(chain.places) : most]:
            place = self._held.get(name)
            if place is None:
                return
            chain.places.append(place)
            self._users[name] = self._users.get(name, 0) + 1

    def _use(self, chain: Chain) -> None:
        for name in reversed(chain.names[: len(chain.places)]):
            self._held.move_to_end(name)

    def _may_come(self, name: bytes) -> bool:
        return name not in self._absent and self._on_disk(name)

    def _evict(self, count: int) -> tuple[int, ...]:
        free = (name for name in self._held if name not in self._users)
        places = tuple(self._held.pop(name) for name in list(islice(free, max(0, count))))
        self._free.extend(places)
        return places

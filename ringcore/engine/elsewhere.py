"""Blocks in files on other hosts than those whose ranks need them: which there are, which are on their way.

Asks for those that continue a prompt where bringing them takes less time than computing them. Knows neither
files nor hosts, and reads no clock: the agents answer every order, in time or with a cause.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice, takewhile

from ringcore.engine.worth import Worth
from ringcore.spec.control import Bring, Brought, Unwanted

MOST_AT_ONCE = 512  # blocks of one order


class Elsewhere:
    """``on_disk``: whether the leader's host has a block in a file. ``ask``: the agents. ``say``: to the log.
    ``seconds_per_token`` of a prompt, 0 while unknown."""

    def __init__(
        self,
        block_tokens: int,
        on_disk: Callable[[bytes], bool],
        ask: Callable[[Bring | Unwanted], None],
        say: Callable[[str], None],
        seconds_per_token: Callable[[], float],
    ) -> None:
        self._block_tokens = block_tokens
        self._on_disk = on_disk
        self._ask = ask
        self._say = say
        self._seconds_per_token = seconds_per_token
        self._worth = Worth()
        self._sizes: dict[bytes, int] = {}  # bytes that must go for each block that is not in place
        self._brought: set[bytes] = set()
        self._coming: dict[int, tuple[bytes, ...]] = {}  # by order
        self._declined: tuple[bytes, ...] = ()
        self._given_up: set[int] = set()  # orders that nobody waits for
        self._orders = 0

    def there(self, blocks: Iterable[tuple[str, int]]) -> None:
        """Names of blocks that the hosts have among them, and the bytes that must go for each."""
        self._sizes |= {bytes.fromhex(name): size for name, size in blocks}

    def in_place(self, name: bytes) -> bool:
        """Every host may be expected to have the layers of its rank."""
        return name not in self._sizes and (name in self._brought or self._on_disk(name))

    def order(self, names: Sequence[bytes]) -> int | None:
        """``names``: blocks that follow on what a sequence has, in order. The order that it must wait for;
        None where there is nothing to wait for."""
        run = list(islice(takewhile(self._anywhere, names), MOST_AT_ONCE))
        wanted = tuple(name for name in run if name in self._sizes)
        if not wanted:
            return None
        coming = next((number for number, some in self._coming.items() if wanted[0] in some), None)
        if coming is not None:
            return coming
        tokens = self._block_tokens * (len(run) - run.index(wanted[0]))
        size = sum(self._sizes[name] for name in wanted)
        ahead = sum(self._sizes.get(name, 0) for some in self._coming.values() for name in some)
        choice = self._worth.choice(size, tokens, self._seconds_per_token(), ahead)
        if choice.pays or wanted != self._declined:  # a long beginning comes in parts, and is asked for often
            self._say(f"{'bringing' if choice.pays else 'computing'} {choice}")
        if not choice.pays:
            self._declined = wanted
            return None
        self._orders += 1
        self._coming[self._orders] = wanted
        self._ask(Bring(id=self._orders, blocks=tuple(name.hex() for name in wanted), seconds=choice.limit))
        return self._orders

    def came(self, answer: Brought) -> None:
        """Of an order whose answer was not waited for any more, what is in place is missed and no more."""
        asked = self._coming.pop(answer.id, ())
        if not asked:
            return
        self._brought.update(asked[: answer.count])
        given_up = answer.id in self._given_up
        self._given_up.discard(answer.id)
        # Nobody asks again for what could not come.
        for name in asked[: answer.count] if given_up else asked:
            self._sizes.pop(name, None)
        if answer.seconds and not given_up:
            self._worth.moved(answer.bytes, answer.seconds)
        self._say(
            f"{answer.count} of {len(asked)} blocks came from other hosts in {answer.seconds:.2f} s"
            + (f": {answer.cause}" if answer.cause else "")
        )

    def unwanted(self, order: int) -> None:
        """All that waited for it have ended."""
        self._given_up.add(order)
        self._ask(Unwanted(id=order))

    def clear(self) -> None:
        """The files go; what is on its way is not expected to be there."""
        self._sizes.clear()
        self._brought.clear()
        self._coming = dict.fromkeys(self._coming, ())

    def _anywhere(self, name: bytes) -> bool:
        return name in self._sizes or name in self._brought or self._on_disk(name)

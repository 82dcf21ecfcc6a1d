"""What is on the ring: steps that were issued and have not come round, and what fits on the wrap link beside.

Gives steps their numbers. Decides nothing; knows no links.
"""

from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as Items

from msgspec import Struct

from ringcore.engine.scheduler import Kind
from ringcore.engine.sequence import Sequence
from ringcore.engine.step import Operation, Row, Step


class Flight(Struct, frozen=True):
    """A step on its way round, and whose it is. ``prompt_tokens`` counts against the wrap link's bound: ids
    of a prompt, and four bytes of a payload as one."""

    step: Step
    kind: Kind | None
    sequences: tuple[Sequence, ...]
    prompt_tokens: int = 0


class Flights:
    """The oldest first, as they come round. ``most_tokens``: of prompts, on the wrap link at once."""

    def __init__(self, most_tokens: int) -> None:
        self._most_tokens = most_tokens
        self._flights: deque[Flight] = deque()
        self._number = 0

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights)

    @property
    def prompt_tokens(self) -> int:
        """Of all that are on their way."""
        return sum(flight.prompt_tokens for flight in self._flights)

    def of_kind(self, kind: Kind) -> int:
        """How many of that kind are on their way."""
        return sum(flight.kind == kind for flight in self._flights)

    def fits(self, payload_bytes: int) -> bool:
        """On the wrap link, beside what is on its way."""
        used = self.prompt_tokens
        return not used or used + _worth(payload_bytes) <= self._most_tokens

    def put(
        self,
        operation: Operation,
        kind: Kind | None = None,
        sequences: tuple[Sequence, ...] = (),
        rows: tuple[Row, ...] = (),
        tokens: Items[int] = (),
        payload: bytes = b"",
    ) -> Step:
        """The next step, on its way from now on."""
        self._number += 1
        step = Step(operation, rows, tuple(tokens), payload, self._number)
        self._flights.append(Flight(step, kind, sequences, len(tokens) + _worth(len(payload))))
        return step

    def came(self, step: Step) -> Flight:
        """``step`` has come round, which must be the oldest."""
        flight = self._flights.popleft()
        if flight.step.number != step.number or flight.step.operation != step.operation:
            raise AssertionError(
                f"step {step.number} ({step.operation.name}) came round, "
                f"{flight.step.number} ({flight.step.operation.name}) was due"
            )
        return flight


def _worth(payload_bytes: int) -> int:
    """As many ids of a prompt, of four bytes each."""
    return (payload_bytes + 3) // 4

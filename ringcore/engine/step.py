"""What travels around the ring: a step, decided by rank 0 and carried in order through all stages.

Plain values; knows nothing of bytes on a link (`ringcore.rank.header`) or of arrays.
"""

from enum import IntEnum

from msgspec import Struct

NO_TOKEN = -1


class Operation(IntEnum):
    RUN = 1  # rows of tokens through the layers
    OPEN = 2  # a sequence begins in a slot; payload: its `Opening` as JSON
    DROP = 3  # the slots of the rows are free, their caches go
    PARK = 4  # nothing will come: leave the receive, wait for the agent's wake
    STOP = 5  # end in order
    STORE = 6  # blocks of the row's sequence go into places; payload: places and names
    LOAD = 7  # the row's sequence begins with the blocks in places; payload: the places
    FORGET = 8  # the blocks in places go; payload: the places, none: what is in files
    FETCH = 9  # blocks come from disk; payload as of STORE, the token of the row: how many all ranks have
    HEAD = 10  # what goes into the head, to the first stage, which has a part of it; payload: hidden states
    DRAW = 11  # the first stage's part of the logits, to the last stage, which draws; payload: these


# A step that draws goes round with these once more where the head is shared; they are no steps of their own.
HEAD_OPERATIONS = (Operation.HEAD, Operation.DRAW)


class Row(Struct, frozen=True):
    """One sequence's part of a step: ``count`` tokens from ``position`` on, in ``slot``.

    ``sample``: the last stage draws the token that follows the row. ``token`` is the single token
    of a row of one on the way in, and the drawn one on the way back; `NO_TOKEN` otherwise.
    """

    slot: int
    count: int = 0
    position: int = 0
    sample: bool = False
    token: int = NO_TOKEN


class Step(Struct, frozen=True):
    """``tokens`` are the ids of all rows one after the other, unless every row has one token, which
    then is in the row. ``number`` counts the steps of an epoch from 1, parking included.
    ``microseconds``: the longest that a stage has worked on it so far."""

    operation: Operation
    rows: tuple[Row, ...] = ()
    tokens: tuple[int, ...] = ()
    payload: bytes = b""
    number: int = 0
    microseconds: int = 0

    @property
    def token_count(self) -> int:
        """Tokens of all rows together."""
        return sum(row.count for row in self.rows)

    @property
    def single(self) -> bool:
        """Every row has one token: the ids are in the rows, no id payload travels."""
        return all(row.count == 1 for row in self.rows)

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids of all rows, one after the other. Valid where the first stage reads them."""
        return tuple(row.token for row in self.rows) if self.single else self.tokens

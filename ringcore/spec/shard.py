"""A contiguous run of a model's layers, as one rank holds it."""

from msgspec import Struct


class Shard(Struct, frozen=True, order=True):
    """Layers ``start`` to ``end`` (half-open) of a model of ``total`` layers.

    Raises ``ValueError`` when the range is empty or leaves the model.
    """

    start: int
    end: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end <= self.total:
            raise ValueError(
                f"layers {self.start}..{self.end} (half-open) are no range of {self.total} layers"
            )

    @property
    def is_first(self) -> bool:
        return self.start == 0

    @property
    def is_last(self) -> bool:
        return self.end == self.total

    @property
    def count(self) -> int:
        return self.end - self.start

    def __contains__(self, layer: int) -> bool:
        return self.start <= layer < self.end

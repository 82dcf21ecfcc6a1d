"""Typed errors, each with the remedy and the exit code of the command that meets it.

    MlxringError                1   unexpected, or no better class
    +- ProfileError             2   the profile (or the command line) is wrong
    +- HostError                3   a host cannot be reached, or refuses the operator
    +- ProvisionError           4   a host cannot be made ready (no python, no space, deploy refused)
    +- PlanError                5   the model or the plan is impossible (path missing, does not fit, gap)
    +- RingError                6   the ring failed while starting or serving
    +- ApiError                 7   the HTTP API refused or broke off a request
    +- NotRunning               8   the command needs a ring that is not running

0 is success, 130 is an interrupt by the operator.
"""

from msgspec import Struct, structs


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an operator must read when something dies: where, why and what to do.

    ``host`` and ``rank`` are empty/None when the fault has no single place. ``blames`` is the rank at the
    other end when the fault was only met here (a link that broke): if that rank has a cause of its own,
    that one counts.
    """

    cause: str
    remedy: str = ""
    host: str = ""
    rank: int | None = None
    exit_code: int = 1
    blames: int | None = None

    def __str__(self) -> str:
        where = " ".join(
            part for part in (f"rank {self.rank}" if self.rank is not None else "", self.host) if part
        )
        text = f"{where}: {self.cause}" if where else self.cause
        return f"{text}\n  remedy: {self.remedy}" if self.remedy else text


class MlxringError(Exception):
    """Base of every error whose message may be shown to an operator as it is."""

    exit_code = 1

    def __init__(
        self,
        cause: str,
        remedy: str = "",
        *,
        host: str = "",
        rank: int | None = None,
        blames: int | None = None,
    ) -> None:
        self.failure = Failure(
            cause=cause,
            remedy=remedy,
            host=host,
            rank=rank,
            exit_code=type(self).exit_code,
            blames=blames,
        )
        super().__init__(str(self.failure))

    @staticmethod
    def of(failure: Failure) -> "MlxringError":
        """The error whose class belongs to ``failure.exit_code``."""
        kind = next((k for k in _ALL if k.exit_code == failure.exit_code), MlxringError)
        return kind(
            failure.cause, failure.remedy, host=failure.host, rank=failure.rank, blames=failure.blames
        )

    @staticmethod
    def at(failure: Failure, host: str) -> "MlxringError":
        """The error of ``failure``, placed at ``host``."""
        return MlxringError.of(structs.replace(failure, host=host))


class ProfileError(MlxringError):
    exit_code = 2


class HostError(MlxringError):
    exit_code = 3


class ProvisionError(MlxringError):
    exit_code = 4


class PlanError(MlxringError):
    exit_code = 5


class RingError(MlxringError):
    exit_code = 6


class ApiError(MlxringError):
    exit_code = 7


class NotRunning(MlxringError):
    exit_code = 8


_ALL: tuple[type[MlxringError], ...] = (
    ProfileError,
    HostError,
    ProvisionError,
    PlanError,
    RingError,
    ApiError,
    NotRunning,
)
INTERRUPTED = 130

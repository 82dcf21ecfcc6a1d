"""The model as the hosts have it: where it lies on each, and its card, read there without loading it."""

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import msgspec
from msgspec import Struct

from console.cluster.host import Host
from ringcore.checkpoint.survey import Tensor
from ringcore.planning.card import make_card
from ringcore.planning.mixed import halves
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import MlxringError, PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import Profile


class NoFolder(PlanError):
    """The host has no folder at the model's path."""


_SURVEY_SECONDS = 60.0  # headers of hundreds of files on a cold disk


class _Survey(Struct, frozen=True):
    """The answer of `ringcore.checkpoint.survey`."""

    ok: bool
    cause: str = ""
    remedy: str = ""
    absent: bool = False
    config: dict[str, Any] = {}
    tensors: tuple[Tensor, ...] = ()


def ring_dtype(profile: Profile, facts: Sequence[HostFacts]) -> str:
    """The dtype of floating tensors on every rank, ``stored`` for as the checkpoint has them.

    float32 as soon as one host computes on a CPU under Linux: half precision is many times slower there.
    GPUs, Apple's and NVIDIA's, compute in what the model is stored in.
    """
    if profile.ring.dtype != "auto":
        return profile.ring.dtype
    return "float32" if len(halves(facts)) < len(facts) else "stored"


async def read_card(
    host: Host, facts: HostFacts, path: str, dtype: str, *, allow_unverified: bool
) -> ModelCard:
    """Surveys the folder on ``host``, with nothing installed there. Raises `PlanError` with what is wrong,
    `NoFolder` when there is none."""
    python = facts.pythons[0].path if facts.pythons else "python3"
    script = resources.files("ringcore.checkpoint").joinpath("survey.py").read_text()
    result = await host.run([python, "-I", "-B", "-c", script, path], timeout=_SURVEY_SECONDS)
    try:
        found = msgspec.convert(json.loads(result.stdout.strip().rpartition("\n")[2]), _Survey)
    except (ValueError, RecursionError):
        raise PlanError(
            f"reading the model at {path} broke off: {(result.stderr or result.stdout).strip()[-300:]}",
            f"see that {python} works on this host",
            host=host.options.name,
        ) from None
    if not found.ok:
        kind = NoFolder if found.absent else PlanError
        raise kind(found.cause, found.remedy, host=host.options.name)
    try:
        return make_card(
            model_name(path), found.config, list(found.tensors), dtype, allow_unverified=allow_unverified
        )
    except PlanError as error:
        raise MlxringError.at(error.failure, host.options.name) from None


def model_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def same_model(cards: Sequence[tuple[str, ModelCard]]) -> ModelCard:
    """The one card of all hosts (name, card), leader first. Raises `PlanError` where the models differ."""
    name, first = cards[0]
    for other, card in cards[1:]:
        if card.revision != first.revision:
            raise PlanError(
                f"the model here is not the one on {name} (revision {card.revision}, there {first.revision})",
                f"copy the model folder of {name} to this host",
                host=other,
            )
    return first

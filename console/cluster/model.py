"""The model as the hosts have it: where it lies on each, and its card, read there without loading it."""

from collections.abc import Sequence

import msgspec

from console.cluster.host import Host
from console.cluster.provision import Prepared
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import Failure, MlxringError, PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import Profile


class _Answer(msgspec.Struct):
    ok: bool
    card: ModelCard | None = None
    failure: Failure | None = None


def model_path(path: str, facts: HostFacts) -> str:
    """A model's folder on one host, ``~`` expanded by that host's own home."""
    return facts.home + path[1:] if path == "~" or path.startswith("~/") else path


def ring_dtype(profile: Profile, facts: Sequence[HostFacts]) -> str:
    """The dtype of floating tensors on every rank, ``stored`` for as the checkpoint has them.

    float32 as soon as one host computes on a CPU under Linux: half precision is many times slower there.
    """
    if profile.ring.dtype != "auto":
        return profile.ring.dtype
    return "float32" if any(fact.os == "linux" for fact in facts) else "stored"


async def read_card(host: Host, prepared: Prepared, path: str, dtype: str) -> ModelCard:
    """Runs ``ringcore card`` on ``host``. Raises `PlanError` with what is wrong with the folder there."""
    result = await host.run(
        [prepared.python, "-m", "ringcore", "card", path, "--dtype", dtype],
        env={"PYTHONPATH": prepared.code, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=60,
    )
    last = result.stdout.strip().rpartition("\n")[2]
    try:
        answer = msgspec.json.decode(last, type=_Answer)
    except msgspec.MsgspecError:
        raise PlanError(
            f"reading the model at {path} broke off: {(result.stderr or result.stdout).strip()[-300:]}",
            "run `mlxring provision` again, then retry",
            host=host.options.name,
        ) from None
    if answer.card is None:
        assert answer.failure is not None
        raise MlxringError.at(answer.failure, host.options.name)
    return answer.card


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

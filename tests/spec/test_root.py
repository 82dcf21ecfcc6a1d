"""What blocks hang on: every fact counts, the split does not, and a missing word makes no root."""

import pytest
from msgspec import structs

from ringcore.spec.control import Fingerprints
from ringcore.spec.plan import Plan
from ringcore.spec.root import root_name, root_of
from tests.ring.harness import make_plan


def told(plan: Plan, **changes: str) -> dict[int, Fingerprints]:
    return {
        stage.rank: Fingerprints(
            embedding=changes.get("embedding", "e") if stage.shard.is_first else "",
            layers=tuple(changes.get(f"l{n}", f"{n}") for n in range(stage.shard.start, stage.shard.end)),
            code=changes.get("code", "c"),
        )
        for stage in plan.stages
    }


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("counts", [[5], [2, 3], [3, 2], [1, 2, 2]])
def test_every_split_in_either_order_has_one_root(counts: list[int], order: str) -> None:
    plan, whole = make_plan(counts, order=order), make_plan([5])
    assert root_of(plan, told(plan)) == root_of(whole, told(whole))


def test_every_fact_counts() -> None:
    plan = make_plan([2, 3])
    others = [structs.replace(plan, **{fact: "other"}) for fact in ("model", "revision", "dtype")]
    roots = [root_of(each, told(each)) for each in (plan, *others)]
    eight = structs.replace(plan, kv_bits=8)
    roots += [root_of(eight, told(eight))]
    roots += [root_of(plan, told(plan, **{fact: "other"})) for fact in ("embedding", "code", "l0", "l4")]
    assert len(set(roots)) == 9
    assert root_name("ab", "c") != root_name("a", "bc")


def test_while_a_rank_has_not_told_there_is_none() -> None:
    plan = make_plan([2, 3])
    held = told(plan)
    short = structs.replace(held[0], layers=held[0].layers[:-1])
    assert root_of(plan, {0: held[0]}) == root_of(plan, {}) == root_of(plan, {**held, 0: short}) == ""

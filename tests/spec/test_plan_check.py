"""`Plan.check` finds every way in which ranges do not make one model."""

from typing import Any

import msgspec
import pytest
from msgspec import structs

from ringcore.spec.errors import PlanError
from ringcore.spec.plan import Plan, Stage
from ringcore.spec.shard import Shard
from tests.planning.worlds import model


def stage(rank: int, start: int, end: int, total: int = 10, **changes: Any) -> Stage:
    sizes: dict[str, Any] = {
        "weight_bytes": 100,
        "kv_bytes": 20,
        "workspace_bytes": 3,
        "reserve_bytes": 7,
        "ceiling_bytes": 200,
        "ceiling_source": "test",
    }
    return Stage(rank=rank, host=f"h{rank}", shard=Shard(start, end, total), **(sizes | changes))


def plan(*stages: Stage, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "model": "m",
        "architecture": "llama",
        "revision": "r",
        "dtype": "float32",
        "order": "reverse",
        "context": 1024,
        "sequences": 2,
        "prefill_chunk": 64,
    }
    return Plan(stages=stages, **(values | changes))


WHOLE = plan(stage(0, 7, 10), stage(1, 3, 7), stage(2, 0, 3))


def refused(wrong: Plan) -> PlanError:
    with pytest.raises(PlanError) as caught:
        wrong.check()
    assert caught.value.failure.remedy
    return caught.value


def test_a_whole_plan_passes_in_either_order() -> None:
    WHOLE.check()
    plan(stage(0, 0, 3), stage(1, 3, 10), order="forward").check()
    plan(stage(0, 0, 10)).check()


def test_the_pipeline_begins_with_layer_0() -> None:
    assert [each.rank for each in WHOLE.pipeline] == [2, 1, 0]


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([(8, 10), (3, 7), (0, 3)], "a gap at layers 7..8"),
        ([(7, 9), (3, 7), (0, 3)], "a gap at layers 9..10"),
        ([(7, 10), (3, 7), (1, 3)], "a gap at layers 0..1"),
        ([(6, 10), (3, 7), (0, 3)], "an overlap at layers 6..7"),
        ([(0, 10), (0, 10)], "an overlap at layers 0..10"),
    ],
)
def test_layers_that_nobody_or_two_hold_are_named(stages: list[tuple[int, int]], told: str) -> None:
    error = refused(plan(*(stage(rank, *run) for rank, run in enumerate(stages))))
    assert told in error.failure.cause


def test_a_gap_is_placed_at_the_rank_behind_it() -> None:
    failure = refused(plan(stage(0, 8, 10), stage(1, 0, 7))).failure
    assert (failure.rank, failure.host) == (0, "h0")


def test_a_rank_without_a_layer_cannot_even_be_written() -> None:
    with pytest.raises(ValueError, match="no range"):
        stage(0, 5, 5)
    wire = msgspec.json.encode(WHOLE).replace(b'"start":3,"end":7', b'"start":3,"end":3')
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(wire, type=Plan)


def test_no_ranks_at_all_are_refused() -> None:
    assert "no ranks" in refused(plan()).failure.cause


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 0, 1), (0, 2, 1), (2, 1, 0)])
def test_misnumbered_ranks_are_refused(numbers: tuple[int, int, int]) -> None:
    runs = ((7, 10), (3, 7), (0, 3))
    wrong = plan(*(stage(rank, *run) for rank, run in zip(numbers, runs, strict=True)))
    assert "numbered 0, 1, 2" in refused(wrong).failure.cause


def test_ranks_against_the_order_are_refused() -> None:
    assert "'forward'" in refused(structs.replace(WHOLE, order="forward")).failure.cause
    shuffled = plan(stage(0, 7, 10), stage(1, 0, 3), stage(2, 3, 7))
    assert "'reverse'" in refused(shuffled).failure.cause


def test_ranks_that_count_different_models_are_refused() -> None:
    failure = refused(plan(stage(0, 5, 10), stage(1, 0, 5, total=12))).failure
    assert "12 layers" in failure.cause and "10" in failure.cause


def test_the_head_is_shared_by_two_ranks_and_each_has_some_rows() -> None:
    stages = (stage(0, 5, 10), stage(1, 0, 5))
    card = model(10)
    for given in (None, card):
        for rows in (0, 1, card.vocab_size - 1):
            plan(*stages, head_rows=rows, card=given).check()
        assert "-1" in refused(plan(*stages, head_rows=-1, card=given)).failure.cause
    whole = refused(plan(*stages, head_rows=card.vocab_size, card=card)).failure.cause
    assert f"{card.vocab_size} of {card.vocab_size} rows" in whole
    for others in (WHOLE, plan(stage(0, 0, 10))):
        assert "two ranks" in refused(structs.replace(others, head_rows=64)).failure.remedy


def test_the_digest_changes_with_everything_the_ranks_must_agree_on() -> None:
    assert structs.replace(WHOLE).digest == WHOLE.digest
    changed = [
        structs.replace(WHOLE, **{name: value})
        for name, value in {
            "model": "n",
            "revision": "s",
            "dtype": "bfloat16",
            "context": 1025,
            "sequences": 3,
            "prefill_chunk": 65,
            "head_rows": 64,
            "stages": WHOLE.stages[:2],
        }.items()
    ]
    assert len({each.digest for each in (*changed, WHOLE)}) == len(changed) + 1


def test_the_digest_survives_the_way_through_json() -> None:
    again = msgspec.json.decode(msgspec.json.encode(WHOLE), type=Plan)
    assert again == WHOLE and again.digest == WHOLE.digest


def test_need_and_free_add_up_to_the_ceiling() -> None:
    only = WHOLE.stages[0]
    assert only.need_bytes == 123
    assert only.need_bytes + only.reserve_bytes + only.free_bytes == only.ceiling_bytes


def test_a_plan_that_was_changed_after_it_was_sealed_is_refused() -> None:
    sealed = WHOLE.sealed()
    sealed.check()
    assert sealed.hash == sealed.digest == WHOLE.digest
    read = msgspec.json.decode(msgspec.json.encode(sealed), type=Plan)
    read.check()
    with pytest.raises(PlanError, match=sealed.hash):
        structs.replace(read, context=read.context + 1).check()

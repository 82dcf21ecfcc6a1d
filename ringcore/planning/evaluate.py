"""What a split by hand would take and reach: a plan with its boundaries moved. Pure, quick as a key press.

Everything comes from the plan itself: the model's card, each rank's ceiling, speed and link.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct, structs

from ringcore.planning.head import balanced, better, may_share
from ringcore.planning.needs import Needs
from ringcore.planning.pace import Rates, rates, rows_together, times
from ringcore.planning.prefix import budget
from ringcore.spec.errors import PlanError
from ringcore.spec.plan import Plan, Stage
from ringcore.spec.shard import Shard
from ringcore.spec.units import format_bytes


class Evaluation(Struct, frozen=True, kw_only=True):
    """``stages`` in rank order as the plan would have them; their ``free_bytes`` are below 0 where they are
    over. ``over`` says so in a sentence for each of these ranks; empty: the split fits. ``head_rows`` as a
    plan has them."""

    stages: tuple[Stage, ...]
    rates: Rates
    over: tuple[str, ...] = ()
    head_rows: int = 0

    @property
    def fits(self) -> bool:
        return not self.over

    @property
    def layers(self) -> tuple[int, ...]:
        """As ``ring.layers`` in a profile has them, rank 0 first."""
        return tuple(stage.shard.count for stage in self.stages)


def evaluate(plan: Plan, layers: Sequence[int]) -> Evaluation:
    """``plan`` with ``layers[rank]`` layers for each rank instead of its own; the head as the planner shares
    it where layers are by hand.

    Raises `PlanError` when these numbers do not make the model, or the plan has no card.
    """
    if plan.card is None:
        raise PlanError("this plan does not say what its layers weigh", "plan again with this version")
    needs = needs_of(plan)
    if len(layers) != len(plan.stages) or sum(layers) != needs.total or min(layers) < 1:
        raise PlanError(
            f"{list(layers)} is no split of {needs.total} layers over {len(plan.stages)} ranks",
            "give each rank at least one layer, and all of them together",
        )
    runs = runs_of(layers, plan.order)
    if list(layers) == [stage.shard.count for stage in plan.stages]:
        found = weigh(needs, plan.stages, runs, plan.head_rows)
    else:
        found = weigh(needs, plan.stages, runs)
        shared = sharing(needs, plan.stages, runs) if plan.head == "auto" else None
        found = shared if shared and better("by hand", shared.rates, found.rates) else found
    kept = budget(needs, found.stages, plan.prefix_memory_bytes, plan.block_tokens)
    return structs.replace(found, stages=kept.stages)


def needs_of(plan: Plan) -> Needs:
    """The needs that the plan was made with. It must have a card."""
    assert plan.card is not None
    return Needs(
        plan.card,
        context=plan.context,
        sequences=plan.sequences,
        prefill_chunk=plan.prefill_chunk,
        kv_bits=plan.kv_bits,
    )


def runs_of(layers: Sequence[int], order: str) -> list[tuple[int, int]]:
    """Each rank's (start, end) from its number of layers."""
    ranks = sorted(range(len(layers)), reverse=order == "reverse")
    runs = [(0, 0)] * len(layers)
    at = 0
    for rank in ranks:
        runs[rank] = (at, at + layers[rank])
        at += layers[rank]
    return runs


def weigh(
    needs: Needs, stages: Sequence[Stage], runs: Sequence[tuple[int, int]], head_rows: int = 0
) -> Evaluation:
    """``stages`` in rank order with ``runs[rank]`` as their layers, and what they need and reach there."""
    placed = _placed(needs, stages, runs)
    took = times(placed, needs, rows_together(needs, len(stages)), head_rows).stages
    placed = tuple(
        structs.replace(stage, seconds=seconds) for stage, seconds in zip(placed, took, strict=True)
    )
    return Evaluation(
        stages=placed,
        rates=rates(placed, needs, head_rows),
        over=tuple(_over(placed)),
        head_rows=head_rows,
    )


def sharing(
    needs: Needs, stages: Sequence[Stage], runs: Sequence[tuple[int, int]], *, alone: bool = False
) -> Evaluation | None:
    """`weigh` with the head shared as evens out the stages, or with ``alone`` the wait of one conversation;
    None where it cannot be shared, or the first stage should have nothing of it, or an older version's plan
    does not say how long logits are on the link."""
    card = needs.card
    links = all(stage.link_bytes_per_second for stage in stages)
    if not links or not may_share(card, needs.sequences, len(stages)):
        return None
    placed, rows = _placed(needs, stages, runs), rows_together(needs, len(stages))
    without, whole = (times(placed, needs, rows, size) for size in (0, card.vocab_size))
    head_rows = balanced(card.vocab_size, without, whole, alone=alone)
    return weigh(needs, stages, runs, head_rows) if head_rows else None


def _placed(needs: Needs, stages: Sequence[Stage], runs: Sequence[tuple[int, int]]) -> tuple[Stage, ...]:
    return tuple(
        structs.replace(
            stage,
            shard=Shard(start, end, needs.total),
            weight_bytes=needs.weights(start, end),
            kv_bytes=needs.kv(start, end),
            workspace_bytes=needs.workspace(start, end),
            prefix_bytes=0,
        )
        for stage, (start, end) in zip(stages, runs, strict=True)
    )


def _over(stages: Sequence[Stage]) -> Iterator[str]:
    for stage in stages:
        if stage.free_bytes < 0:
            yield (
                f"rank {stage.rank} ({stage.host}) would need {format_bytes(stage.need_bytes)} and has "
                f"{format_bytes(max(0, stage.ceiling_bytes - stage.reserve_bytes))}: "
                f"{format_bytes(-stage.free_bytes)} missing"
            )

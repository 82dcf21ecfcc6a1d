"""(ModelCard, Profile, HostFacts) -> Plan: which rank holds which layers, and what that takes.

Joins the parts: `needs` of layers, `capacity` of hosts, their `speed`, the best `split`, and words for
both outcomes (`explain`, `refuse`). Pure: no I/O, the same answer for the same values.
"""

from collections.abc import Mapping, Sequence

from msgspec import structs

from ringcore.planning.capacity import over_free, rooms
from ringcore.planning.choose import Choice, choose
from ringcore.planning.chunk import chunks
from ringcore.planning.explain import explanation
from ringcore.planning.needs import Needs
from ringcore.planning.pace import link_seconds
from ringcore.planning.prefix import block_tokens, budget, disk_blocks
from ringcore.planning.refuse import does_not_fit
from ringcore.planning.rejected import evaluation
from ringcore.planning.speed import speeds
from ringcore.planning.task import Task
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile


def make_plan(
    card: ModelCard, profile: Profile, facts: Sequence[HostFacts], environment: Mapping[str, str]
) -> Plan:
    """The plan of the profile's objective. ``facts`` in rank order; ``environment`` may set ceilings.

    Never gives a rank more than it can hold, and every rank a layer. There may be fewer ranks than hosts, in
    another order: see `seats.seated`. Raises `PlanError` with numbers and remedies when that is impossible,
    or what the profile asks for contradicts the model.
    """
    if len(facts) != len(profile.hosts):
        raise PlanError(
            f"facts of {len(facts)} hosts for a ring of {len(profile.hosts)}", "read every host's facts again"
        )
    _refuse_contradictions(card, profile)
    made = rooms(profile, facts, environment)
    speed, why = speeds(facts, [room.mates for room in made])
    ring = profile.ring
    links = [link_seconds(host, fact) for host, fact in zip(profile.hosts, facts, strict=True)]
    task, choice = _longest_chunk(
        [
            Task(
                Needs(card, context=ring.context, sequences=ring.sequences, prefill_chunk=chunk),
                made,
                speed,
                links,
                ring,
            )
            for chunk in chunks(card, ring, facts)
        ]
    )
    needs = task.needs
    found = evaluation(task, choice)
    of_block = block_tokens(card, profile.cache.block_tokens)
    kept = budget(needs, found.stages, profile.cache.memory_bytes, of_block)
    found = structs.replace(found, stages=kept.stages)
    notes = (kept.line, *over_free(profile, facts, made))
    plan = Plan(
        model=card.name,
        architecture=card.architecture,
        revision=card.revision,
        dtype=card.dtype,
        order=ring.order,
        context=ring.context,
        sequences=ring.sequences,
        prefill_chunk=needs.prefill_chunk,
        step_tokens=ring.step_tokens,
        stages=found.stages,
        prefix_blocks=kept.blocks,
        prefix_memory_bytes=profile.cache.memory_bytes,
        block_tokens=of_block,
        prefix_disk_blocks=disk_blocks(card, profile.cache.disk_bytes, of_block) if kept.blocks else 0,
        prefix_ttl_hours=profile.cache.ttl,
        explanation=explanation(task, choice, found, why, notes),
        tokens_per_second=found.rates.alone,
        tokens_per_second_together=found.rates.together,
        card=card,
    )
    plan = plan.sealed()
    plan.check()
    return plan


def _longest_chunk(tasks: Sequence[Task]) -> tuple[Task, Choice]:
    """The first task that fits, with its best choice. Raises `PlanError` for the last when none does."""
    for task in tasks:
        choice = choose(task)
        if choice is not None:
            return task, choice
    raise does_not_fit(tasks[-1])


def _refuse_contradictions(card: ModelCard, profile: Profile) -> None:
    """What no amount of memory would mend."""
    ring, total, count = profile.ring, len(card.layers), len(profile.hosts)
    if ring.context > card.max_context > 0:
        raise PlanError(
            f"ring.context is {ring.context} tokens, {card.name} was made for {card.max_context} at most",
            f"write context = {card.max_context} or less under [ring]",
        )
    if count > total:
        raise PlanError(
            f"{count} hosts for {total} layers: {card.name} cannot give each rank a layer",
            f"name {total} hosts or fewer in the profile",
        )
    if ring.layers and (len(ring.layers) != count or sum(ring.layers) != total):
        given = f"ring.layers = {list(ring.layers)}"
        raise PlanError(
            f"{given} makes {sum(ring.layers)} layers for {len(ring.layers)} ranks, "
            f"{card.name} has {total} for {count}",
            f"write {count} numbers that make {total}, such as {_even(total, count)}, or remove ring.layers",
        )


def _even(total: int, count: int) -> list[int]:
    return [total // count + (rank < total % count) for rank in range(count)]

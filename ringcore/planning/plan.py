"""(ModelCard, Profile, HostFacts) -> Plan: which rank holds which layers, and what that takes.

Joins the parts: `needs` of layers, `capacity` of hosts, their `speed`, the best `split`, and words for
both outcomes (`explain`, `refuse`). Pure: no I/O, the same answer for the same values.
"""

from collections.abc import Mapping, Sequence

from msgspec import structs

from ringcore.planning.capacity import over_free
from ringcore.planning.cards import card_notes
from ringcore.planning.choose import Choice, choose, evaluation
from ringcore.planning.chunk import chunks
from ringcore.planning.evaluate import Evaluation
from ringcore.planning.explain import explanation
from ringcore.planning.ground import Ground
from ringcore.planning.kv_bits import check
from ringcore.planning.needs import Needs
from ringcore.planning.prefix import block_tokens, budget, disk_blocks
from ringcore.planning.refuse import does_not_fit
from ringcore.planning.task import Task
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile


def make_plan(
    card: ModelCard,
    profile: Profile,
    facts: Sequence[HostFacts],
    environment: Mapping[str, str],
    *,
    among: Sequence[int] = (),
) -> Plan:
    """The plan of the profile's objective. ``facts`` in rank order; ``environment`` may set ceilings.
    ``among``: only hosts at these places of the profile, the leader's first; else all.

    Never gives a rank more than it can hold, and every rank a layer. There may be fewer ranks than hosts, in
    another order: see `seats.seated`. Raises `PlanError` with numbers and remedies when that is impossible,
    or what the profile asks for contradicts the model.
    """
    if len(facts) != len(profile.hosts):
        raise PlanError(
            f"facts of {len(facts)} hosts for a ring of {len(profile.hosts)}", "read every host's facts again"
        )
    _refuse_contradictions(card, profile)
    ring = profile.ring
    ground = Ground(profile, facts, environment)
    task, choice = _best(ground, card, profile, among or range(len(facts)))
    needs = task.needs
    found = _on_cards(evaluation(task, choice), ground, task, choice)
    of_block = block_tokens(card, profile.cache.block_tokens)
    kept = budget(needs, found.stages, profile.cache.memory_bytes, of_block)
    found = structs.replace(found, stages=kept.stages)
    notes = (
        kept.line,
        *card_notes(found.stages),
        *over_free(ground.facts, ground.pools, ground.of(range(len(facts))).rooms),
    )
    why = ground.of([task.places[rank] for rank in choice.ranks]).speed
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
        kv_bits=needs.kv_bits,
        head_rows=found.head_rows,
        head="auto" if ring.may_share_head else "last",
        stages=found.stages,
        prefix_blocks=kept.blocks,
        prefix_memory_bytes=profile.cache.memory_bytes,
        block_tokens=of_block,
        prefix_disk_blocks=disk_blocks(needs.card, profile.cache.disk_bytes, of_block) if kept.blocks else 0,
        prefix_ttl_hours=profile.cache.ttl,
        explanation=explanation(task, choice, found, why, notes),
        tokens_per_second=found.rates.alone,
        tokens_per_second_together=found.rates.together,
        card=card,
    )
    plan = plan.sealed()
    plan.check()
    return plan


def _best(ground: Ground, card: ModelCard, profile: Profile, places: Sequence[int]) -> tuple[Task, Choice]:
    """The task of the hosts at these places with the longest chunk of those that fit, and its best choice.
    Raises `PlanError` when nothing fits."""
    ring, bits = profile.ring, profile.cache.bits

    def task_of(chunk: int) -> Task:
        needs = Needs(card, context=ring.context, sequences=ring.sequences, prefill_chunk=chunk, kv_bits=bits)
        return Task.on(ground, needs, ring, places)

    def sizes_of(ranks: Sequence[int]) -> tuple[int, ...]:
        return chunks(card, ring, [ground.facts[places[rank]] for rank in ranks])

    sizes = sizes_of(range(len(places)))
    for size in sizes:
        task = task_of(size)
        choice = choose(task)
        if choice is None:
            continue
        # Who is left out no longer decides how long a chunk may be.
        inside = sorted(choice.ranks)
        for longer in sizes_of(inside):
            wider = task_of(longer)
            again = choose(wider.seated(inside)) if longer > size else None
            if again is not None:
                return wider, structs.replace(again, ranks=tuple(inside[rank] for rank in again.ranks))
        return task, choice
    raise does_not_fit(task_of(sizes[-1]))


def _on_cards(found: Evaluation, ground: Ground, task: Task, choice: Choice) -> Evaluation:
    stages = (
        structs.replace(stage, gpu=ground.cards[task.places[rank]])
        for stage, rank in zip(found.stages, choice.ranks, strict=True)
    )
    return structs.replace(found, stages=tuple(stages))


def _refuse_contradictions(card: ModelCard, profile: Profile) -> None:
    """What no amount of memory would mend."""
    ring, total, count = profile.ring, len(card.layers), len(profile.hosts)
    if ring.context > card.max_context > 0:
        raise PlanError(
            f"ring.context is {ring.context} tokens, {card.name} was made for {card.max_context} at most",
            f"write context = {card.max_context} or less under [ring]",
        )
    check(card, profile.cache.bits)
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

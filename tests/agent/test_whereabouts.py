"""Which files must go where: enough for every rank, nothing to who has it, and nothing that is not whole."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ringcore.agent.whereabouts import Move, Whereabouts
from ringcore.spec.block_file import BlockFile
from ringcore.spec.shard import Shard

NAME = "ab" * 16


def file(start: int, end: int, size: int = 0, name: str = NAME) -> BlockFile:
    return BlockFile(name, start, end, size or 10 * (end - start))


def shards(*bounds: int) -> list[Shard]:
    """Rank 0 has the last layers."""
    return [Shard(start, end, bounds[-1]) for start, end in reversed(list(pairwise(bounds)))]


def known(bounds: tuple[int, ...], there: dict[int, list[BlockFile]]) -> Whereabouts:
    made = Whereabouts(shards(*bounds))
    for rank, files in there.items():
        made.add(rank, files)
    return made


def test_after_the_split_they_were_written_under_nothing_must_go() -> None:
    where = known((0, 3, 6), {0: [file(3, 6)], 1: [file(0, 3)]})
    assert where.moves(NAME) == [] and where.elsewhere() == {}


def test_a_third_host_gets_what_it_lacks_from_the_one_that_has_it() -> None:
    where = known((0, 2, 4, 6), {0: [file(3, 6)], 1: [file(0, 3)]})
    assert where.moves(NAME) == [Move(file(3, 6), 0, (1,)), Move(file(0, 3), 1, (2,))]
    assert where.elsewhere() == {NAME: 60}
    where.add(2, [file(0, 3)])
    assert where.elsewhere() == {NAME: 30}


def test_back_from_three_to_two() -> None:
    where = known((0, 3, 6), {0: [file(4, 6)], 1: [file(2, 4), file(0, 2)]})
    assert where.moves(NAME) == [Move(file(2, 4), 1, (0,))]


def test_a_file_that_several_lack_goes_to_all_of_them_at_once() -> None:
    where = known((0, 2, 4, 6), {0: [file(0, 6)]})
    assert where.moves(NAME) == [Move(file(0, 6), 0, (1, 2))]
    assert where.elsewhere() == {NAME: 120}


def test_of_two_the_one_that_reaches_further_goes() -> None:
    where = known((0, 3, 6), {0: [file(3, 6), file(0, 1), file(0, 3, 999), file(0, 2)]})
    assert where.moves(NAME) == [Move(file(0, 3, 999), 0, (1,))]


def test_of_two_that_reach_as_far_the_smaller_goes() -> None:
    where = known((0, 3, 6), {0: [file(3, 6), file(0, 3), file(0, 6)]})
    assert where.moves(NAME) == [Move(file(0, 3), 0, (1,))]


def test_a_block_of_which_no_host_has_a_layer_is_no_use() -> None:
    where = known((0, 3, 6), {0: [file(3, 6)], 1: [file(0, 2)]})
    assert where.moves(NAME) is None and where.elsewhere() == {}
    assert where.moves("cd" * 16) is None


def test_a_file_that_is_gone_is_not_counted_on() -> None:
    where = known((0, 3, 6), {0: [file(0, 6), file(0, 3)]})
    where.remove(0, file(0, 3))
    assert where.moves(NAME) == [Move(file(0, 6), 0, (1,))]
    where.remove(0, file(0, 6))
    where.remove(5, file(0, 6))
    assert where.moves(NAME) is None


ranges = st.tuples(st.integers(0, 7), st.integers(1, 8)).filter(lambda pair: pair[0] < pair[1])


@given(
    st.sets(st.integers(1, 7), max_size=3),
    st.dictionaries(st.integers(0, 3), st.lists(ranges, max_size=4), max_size=4),
)
def test_what_goes_makes_every_rank_whole_exactly_where_the_hosts_have_all_layers_that_ranks_lack(
    cuts: set[int], there: dict[int, list[tuple[int, int]]]
) -> None:
    ranks = shards(0, *sorted(cuts), 8)
    where = Whereabouts(ranks)
    has: dict[int, set[int]] = {rank: set() for rank in range(4)}
    for rank, found in there.items():
        if rank < len(ranks):
            where.add(rank, [file(start, end) for start, end in found])
            has[rank] |= {layer for start, end in found for layer in range(start, end)}
    moves = where.moves(NAME)
    all_layers = set().union(*has.values())
    needed = {layer for rank, shard in enumerate(ranks) for layer in range(shard.start, shard.end)}
    assert (moves is None) == bool(needed - all_layers)
    for move in moves or ():
        assert move.source not in move.targets and move.targets
        assert (move.file.start, move.file.end) in there[move.source]
        for rank in move.targets:
            layers = set(range(move.file.start, move.file.end))
            shard = ranks[rank]
            assert layers & set(range(shard.start, shard.end)) - has[rank], "each brings something"
            has[rank] |= layers
    if moves is not None:
        for rank, shard in enumerate(ranks):
            assert set(range(shard.start, shard.end)) <= has[rank]

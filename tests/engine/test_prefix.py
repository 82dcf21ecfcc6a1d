"""The index of held blocks: any history finds only what was stored, evicts the ends of chains first and never
what a running sequence uses."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ringcore.engine import prefix
from ringcore.engine.prefix import Chain, Claim

B = 64


def tokens(*blocks: int, rest: int = 1) -> list[int]:
    """Whole blocks of one number each, and ``rest`` tokens more."""
    return [number for number in blocks for _ in range(B)] + [99] * rest


class PrefixIndex(prefix.PrefixIndex):
    """Of blocks of `B`, and told of whole lists of tokens."""

    def __init__(self, places: int, *arguments: Any, **named: Any) -> None:
        super().__init__(places, B, *arguments, **named)

    def grown(self, chain: Chain, known: list[int], since: int = 0) -> Claim:
        return self.extend(chain, known, len(known), since=since)


def stored(index: PrefixIndex, prompt: list[int]) -> None:
    """A sequence of ``prompt`` came and went."""
    chain = index.begin(prompt)
    index.grown(chain, prompt)
    index.end(chain)


def test_the_longest_stored_beginning_is_found_and_no_more() -> None:
    index = PrefixIndex(8)
    stored(index, tokens(1, 2, 3))
    assert len(index.begin(tokens(1, 2, 4)).places) == 2
    assert len(index.begin(tokens(1, 2, 3, 4)).places) == 3
    assert index.begin(tokens(2, 3)).places == []


def test_a_prompt_keeps_a_token_to_compute() -> None:
    index = PrefixIndex(8)
    stored(index, tokens(1, 2))
    assert len(index.begin(tokens(1, 2, rest=0)).places) == 1
    assert len(index.begin(tokens(1, 2, rest=1)).places) == 2


def test_a_block_is_another_one_behind_other_tokens_and_in_another_model() -> None:
    index, other = PrefixIndex(8, b"float32"), PrefixIndex(8, b"float16")
    first, second, third = index.begin(tokens(1, 2)), index.begin(tokens(2, 2)), other.begin(tokens(1, 2))
    assert len({first.names[1], second.names[1], third.names[1], first.names[0], third.names[0]}) == 5


def test_only_what_is_not_held_is_claimed() -> None:
    index = PrefixIndex(8)
    stored(index, tokens(1, 2))
    chain = index.begin(tokens(1, 2, 3, 4))
    claim = index.grown(chain, tokens(1, 2, 3, 4))
    assert (claim.first, len(claim.places), list(claim.names)) == (2, 2, chain.names[2:])
    assert index.grown(chain, tokens(1, 2, 3, 4)).places == ()


def test_two_that_run_at_once_store_what_they_share_once() -> None:
    index = PrefixIndex(8)
    first, second = index.begin(tokens(1, 2, 3)), index.begin(tokens(1, 2, 4))
    index.grown(first, tokens(1, 2, 3))
    assert index.grown(second, tokens(1, 2, 4)).first == 2
    assert index.held == 4
    assert second.places[:2] == first.places[:2]


def test_the_least_recently_used_makes_room_end_of_the_chain_first() -> None:
    index = PrefixIndex(4)
    stored(index, tokens(1, 2))
    stored(index, tokens(3, 4))
    index.end(index.begin(tokens(1, 2)))  # used once more
    stored(index, tokens(5))
    assert [len(index.begin(tokens(*run)).places) for run in [(1, 2), (3, 4), (5,)]] == [2, 1, 1]


def test_what_a_running_sequence_uses_stays_and_what_finds_no_room_is_not_stored() -> None:
    index = PrefixIndex(3)
    chain = index.begin(tokens(1, 2))
    index.grown(chain, tokens(1, 2))
    other = index.begin(tokens(3, 4))
    assert len(index.grown(other, tokens(3, 4)).places) == 1
    assert index.forget(10) == ()
    index.end(chain)
    assert set(index.forget(10)) == {0, 1}
    assert index.held == 1


def test_a_prompt_that_is_not_all_read_yet_is_stored_as_far_as_it_is() -> None:
    index = PrefixIndex(8)
    chain = index.begin(tokens(1, 2, 3, 4))
    assert len(index.grown(chain, tokens(1, 2, 3, 4)[: 2 * B + 5]).places) == 2
    assert (index.held, len(chain.places)) == (2, 2)
    assert index.grown(chain, []).places == ()


def test_behind_a_block_that_can_no_longer_be_stored_nothing_is() -> None:
    index = PrefixIndex(3)
    other = index.begin(tokens(8, 9))
    index.grown(other, tokens(8, 9))
    chain = index.begin(tokens(1, 2, 3))
    assert len(index.grown(chain, tokens(1, rest=0), since=0).places) == 1
    assert index.grown(chain, tokens(1, 2, rest=0), since=1).places == ()  # the others use their places
    index.end(other)
    assert index.grown(chain, tokens(1, 2, 3, rest=0), since=2).places == ()
    second = index.begin(tokens(1, 2))
    assert index.grown(second, tokens(1, 2, rest=0), since=1).first == 1
    assert (
        index.grown(chain, tokens(1, 2, 3, rest=0), since=2).first == 2
    )  # another one stored what was missing


def test_a_block_that_lost_the_one_before_it_keeps_no_place_from_others() -> None:
    """It came from disk for a sequence that had left meanwhile."""
    index = PrefixIndex(4, on_disk=lambda _name: True)
    chain = index.begin(tokens(1, 2))
    claim = index.fetch(chain, 9)
    index.end(chain)
    index.arrived(Chain(), claim, 2)
    assert len(index.forget(1)) == 1
    stored(index, tokens(1, 2))
    stored(index, tokens(3, 4))
    assert index.held == 4
    assert len({*index.begin(tokens(1, 2)).places, *index.begin(tokens(3, 4)).places}) == 4


def test_without_places_nothing_is_held() -> None:
    index = PrefixIndex(0)
    stored(index, tokens(1, 2))
    assert index.begin(tokens(1, 2)).places == []


events = st.lists(
    st.tuples(
        st.sampled_from(["begin", "extend", "end", "forget"]),
        st.lists(st.integers(1, 3), min_size=1, max_size=4),
        st.integers(0, 3),
    ),
    max_size=60,
)


@given(st.integers(0, 7), events)
def test_any_history_holds_what_it_says(places: int, history: list[tuple[str, list[int], int]]) -> None:
    index = PrefixIndex(places)
    content: dict[int, tuple[int, ...]] = {}  # what steps in this order put into each place
    running: list[tuple[Chain, list[int]]] = []
    for verb, blocks, number in history:
        if verb == "begin":
            chain = index.begin(tokens(*blocks))
            for depth, place in enumerate(chain.places):
                assert content[place] == tuple(blocks[: depth + 1])
            running.append((chain, blocks))
        elif verb == "extend" and running:
            chain, blocks = running[number % len(running)]
            in_use = {place for other, _ in running for place in other.places}
            claim = index.grown(chain, tokens(*blocks))
            assert in_use.isdisjoint(claim.places)
            for depth, place in enumerate(claim.places, claim.first):
                content[place] = tuple(blocks[: depth + 1])
        elif verb == "end" and running:
            index.end(running.pop(number % len(running))[0])
        elif verb == "forget":
            for place in index.forget(number):
                del content[place]
        assert index.held <= places
        for chain, blocks in running:
            assert [content[place] for place in chain.places] == [
                tuple(blocks[: depth + 1]) for depth in range(len(chain.places))
            ]
    for chain, _ in running:
        index.end(chain)
    assert set(index.forget(places)) == set(content)
    assert index.held == 0

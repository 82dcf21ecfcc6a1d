"""What an OPEN carries is all that drawing needs, and never more than the link has room for."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ringcore.engine.opening import MAX_OPEN_BYTES, Opening, decode, encode, make_opening, most_bytes
from ringcore.spec.engine import MAX_BIASES, MAX_REPETITION_CONTEXT, Sampling, Submit

FLOATS = st.floats(-2, 2)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0, 2),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 1 << 31),
    seed=st.none() | st.integers(0, (1 << 63) - 1),
    repetition_penalty=st.just(1.0) | st.floats(0.1, 10),
    repetition_context=st.integers(1, MAX_REPETITION_CONTEXT),
    presence_penalty=FLOATS,
    frequency_penalty=FLOATS,
    logit_bias=st.dictionaries(st.integers(0, 2**31 - 1), st.floats(-100, 100), max_size=8),
    logprobs=st.none() | st.integers(0, 20),
)


def request(sampling: Sampling, prompt: list[int]) -> Submit:
    return Submit(id="a", prompt=prompt, max_tokens=1, stop_tokens=[], sampling=sampling)


@given(SAMPLINGS, st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=30))
def test_it_arrives_whole_and_within_its_bound(sampling: Sampling, prompt: list[int]) -> None:
    submit = request(sampling, prompt)
    opening = make_opening(submit)
    payload = encode(opening)
    assert decode(payload) == opening
    assert len(payload) <= most_bytes(submit) <= MAX_OPEN_BYTES
    assert structs.replace(msgspec.json.decode(payload, type=Sampling), seed=sampling.seed) == sampling
    wanted = prompt[-sampling.repetition_context :] if sampling.repetition_penalty != 1 else []
    assert list(opening.tail) == wanted


def test_the_largest_there_can_be_fits() -> None:
    longest = -1.2345678901234567e-300
    sampling = Sampling(
        temperature=1.2345678901234567, top_p=0.12345678901234567, min_p=0.12345678901234567,
        top_k=2**31, seed=2**63 - 1, repetition_penalty=1.2345678901234567,
        repetition_context=MAX_REPETITION_CONTEXT, presence_penalty=longest, frequency_penalty=longest,
        logit_bias={2**31 - 1 - number: longest for number in range(MAX_BIASES)}, logprobs=20,
    )  # fmt: skip
    submit = request(sampling, [2**31 - 1] * 1000)
    assert len(encode(make_opening(submit))) <= most_bytes(submit) <= MAX_OPEN_BYTES


def test_a_seed_is_kept_and_one_is_drawn_where_there_is_none() -> None:
    assert make_opening(request(Sampling(seed=0), [1])).seed == 0
    drawn = {make_opening(request(Sampling(), [1])).seed for _ in range(20)}
    assert len(drawn) == 20
    assert None not in drawn
    assert Opening().seed is None

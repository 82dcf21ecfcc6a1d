"""Bodies to typed values. What the API answers to wrong ones over HTTP is in `test_refusals`."""

import json

import msgspec
import pytest

from ringcore.gateway.bodies import parse
from ringcore.gateway.errors import ApiFault
from ringcore.gateway.parameters import ChatParameters, CompletionParameters
from ringcore.spec.engine import Sampling

HI = [{"role": "user", "content": "hi"}]


def chat(**fields: object) -> ChatParameters:
    return parse(json.dumps({"messages": HI, **fields}).encode(), ChatParameters)


def refusal(**fields: object) -> dict[str, str]:
    with pytest.raises(ApiFault) as caught:
        chat(**fields)
    assert caught.value.status == 400
    return caught.value.body["error"]


def test_what_is_left_out_is_greedy_without_a_limit_and_not_streamed() -> None:
    parameters = chat()
    assert parameters.sampling == Sampling()
    assert parameters.limit is None
    assert parameters.stops == ()
    assert not parameters.stream
    assert not parameters.include_usage


def test_null_means_left_out() -> None:
    assert (
        chat(temperature=None, max_tokens=None, stop=None, tools=None, stream_options=None, model=None)
        == chat()
    )


def test_fields_that_ask_for_nothing_are_accepted() -> None:
    asked = chat(
        n=1, logprobs=False, frequency_penalty=0.0, presence_penalty=0, repetition_penalty=1, logit_bias={},
        top_logprobs=None, tools=[], top_k=-1, best_of=1, function_call="none", metadata={}, store=False,
        verbosity="medium", cache_prompt=True, skip_special_tokens=True, ignore_eos=False, min_tokens=0,
        response_format={"type": "text"}, tool_choice="none", user="me", safety_identifier="me",
        prompt_cache_key="mine",
    )  # fmt: skip
    assert (asked.schema, asked.offered, asked.must_call) == (None, [], False)
    assert asked.sampling == Sampling()
    named = {"user": "", "safety_identifier": "", "prompt_cache_key": "", "response_format": None,
             "tool_choice": None, "top_k": 0}  # fmt: skip
    assert msgspec.structs.replace(asked, **named) == chat()


def test_whole_numbers_are_good_for_floats_and_true_is_no_number() -> None:
    assert chat(temperature=1).sampling.temperature == 1.0
    assert refusal(temperature=True)["param"] == "temperature"
    assert refusal(n=True)["param"] == "n"
    assert refusal(logprobs=0)["param"] == "logprobs"


def test_every_way_of_drawing_reaches_the_ring() -> None:
    asked = chat(
        temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, seed=42, repetition_penalty=1.1,
        repetition_context_size=64, presence_penalty=-0.5, frequency_penalty=0.25,
        logit_bias={"7": -100, "0": 1.5}, logprobs=True, top_logprobs=4,
    )  # fmt: skip
    assert asked.sampling == Sampling(
        temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, seed=42, repetition_penalty=1.1,
        repetition_context=64, presence_penalty=-0.5, frequency_penalty=0.25,
        logit_bias={7: -100.0, 0: 1.5}, logprobs=4,
    )  # fmt: skip


def test_logprobs_are_a_switch_and_a_number_in_chat_and_one_number_in_completions() -> None:
    def completion(**fields: object) -> CompletionParameters:
        return parse(json.dumps({"prompt": "hi", **fields}).encode(), CompletionParameters)

    assert chat(logprobs=True).sampling.logprobs == 0
    assert chat(logprobs=True, top_logprobs=0).sampling.logprobs == 0
    assert chat(top_logprobs=0).sampling.logprobs is None
    assert completion(logprobs=0).sampling.logprobs == 0
    assert completion(logprobs=5).sampling.logprobs == 5
    assert completion(logprobs=False).sampling.logprobs is None
    with pytest.raises(ApiFault, match="a number from 0 to 20"):
        completion(logprobs=True)
    with pytest.raises(ApiFault, match="top_logprobs"):
        completion(logprobs=1, top_logprobs=1)


def test_as_many_answers_are_drawn_as_are_given_back() -> None:
    def completion(**fields: object) -> CompletionParameters:
        return parse(json.dumps({"prompt": "hi", **fields}).encode(), CompletionParameters)

    assert completion(best_of=2, n=2).n == 2
    with pytest.raises(ApiFault, match="best_of: 3 with n 2"):
        completion(best_of=3, n=2)
    assert completion(echo=True).echo
    with pytest.raises(ApiFault, match="echo: true with logprobs"):
        completion(echo=True, logprobs=1)


def test_what_is_empty_in_an_answer_that_is_sent_back_asks_for_nothing() -> None:
    answer = {"role": "assistant", "content": "so", "refusal": None, "annotations": [], "tool_calls": [],
              "audio": None, "function_call": None}  # fmt: skip
    (_, found) = chat(messages=[*HI, answer]).messages
    assert found == chat(messages=[*HI, {"role": "assistant", "content": "so"}]).messages[1]
    wrong = {"role": "assistant", "content": "so", "annotations": [{"type": "url_citation"}]}
    assert refusal(messages=[*HI, wrong])["param"] == "messages[1].annotations"


def test_a_call_without_arguments_and_with_its_place_in_a_stream_is_a_call() -> None:
    call = {"id": "c", "type": "function", "index": 0, "function": {"name": "clock", "arguments": ""}}
    (message,) = chat(messages=[{"role": "assistant", "content": None, "tool_calls": [call]}]).messages
    assert message.for_template()["tool_calls"][0]["function"] == {"name": "clock", "arguments": {}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "continue_final_message"),
        ({"messages": [*HI, {"role": "assistant", "content": ""}]}, "continue_final_message"),
        ({"messages": [*HI, {"role": "assistant", "content": "so"}], "add_generation_prompt": True},
         "add_generation_prompt"),
        ({"messages": [*HI, {"role": "assistant", "content": "so"}],
          "response_format": {"type": "json_object"}}, "continue_final_message"),
        ({"messages": [*HI, {"role": "assistant", "content": "so"}], "conversation_id": "a"},
         "continue_final_message"),
    ],
)  # fmt: skip
def test_only_an_assistants_words_can_be_gone_on_with(fields: dict[str, object], param: str) -> None:
    assert refusal(continue_final_message=True, **fields)["param"] == param


def test_one_stop_or_several() -> None:
    assert chat(stop="\n").stops == ("\n",)
    assert chat(stop=["a", "b"]).stops == ("a", "b")


def test_the_limit_has_two_names_that_must_agree() -> None:
    assert chat(max_tokens=3).limit == 3
    assert chat(max_completion_tokens=4).limit == 4
    assert chat(max_completion_tokens=4, max_tokens=4).limit == 4
    assert "differ" in refusal(max_completion_tokens=4, max_tokens=5)["message"]


def test_usage_in_a_stream_is_asked_for() -> None:
    assert chat(stream=True, stream_options={"include_usage": True}).include_usage
    assert refusal(stream_options={"include_usage": True})["param"] == "stream_options"


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"temperature": 2.5}, "temperature", "2"),
        ({"top_p": 1.5}, "top_p", "1"),
        ({"seed": 2**63}, "seed", "9223372036854775807"),
        ({"max_tokens": "many"}, "max_tokens", "int"),
        ({"messages": "hi"}, "messages", "array"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "str"),
        (
            {"messages": [{"role": "user", "content": "x", "weight": 0}]},
            "messages[0].weight",
            "not supported",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    fields: dict[str, object], param: str, says: str
) -> None:
    error = refusal(**fields)
    assert error["param"] == param
    assert says in error["message"]


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ApiFault) as caught:
        parse(b"{}", CompletionParameters)
    assert caught.value.body["error"]["code"] == "missing_required_parameter"
    assert caught.value.body["error"]["param"] == "prompt"


def test_a_refused_value_is_quoted_only_in_part() -> None:
    assert len(refusal(tools=["x" * 100_000])["message"]) < 200

"""What the API promises, asked of a real ring of two ranks by OpenAI's own client."""

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.whole.harness import Operator, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]

# As Qwen's templates do it: tools in the system's words, calls as JSON between marks, results as a user's.
TEMPLATE = (
    "{% if tools %}<|im_start|>system\nTools: {% for tool in tools %}{{ tool | tojson }}{% endfor %}"
    "Call one with <tool_call>JSON</tool_call>.<|im_end|>\n{% endif %}"
    "{% for message in messages %}{% if message.role == 'tool' %}"
    "<|im_start|>user\n<tool_response>{{ message.content }}</tool_response><|im_end|>\n"
    "{% else %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for tool_call in message.tool_calls or [] %}{% set tool_call = tool_call.function %}"
    '<tool_call>\n{"name": "{{ tool_call.name }}", "arguments": {{ tool_call.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HI = [{"role": "user", "content": "Name the capital of France."}]
LONG = [{"role": "user", "content": "Count from one to two hundred in words."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
ALL = {"model": "", "temperature": 0}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory, demo_model_path: Path) -> Iterator[Operator]:
    """It serves the demo model with a template that knows tools."""
    folder = tmp_path_factory.mktemp("api")
    model = folder / "model"
    model.mkdir()
    for path in demo_model_path.iterdir():
        (model / path.name).symlink_to(path)
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").unlink()
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    operator = Operator(folder=folder, model=model)
    try:
        up = operator.run("up")
        assert up.code == 0, up.err
        yield operator
        assert operator.run("down").code == 0
        operator.nothing_is_left()
    finally:
        operator.clear()
        shutil.rmtree(folder, ignore_errors=True)


def url(operator: Operator) -> str:
    return f"http://127.0.0.1:{operator.api_port}"


@pytest.fixture
def client(ring: Operator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url(ring)}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def figure(operator: Operator, name: str) -> float:
    text = httpx.get(f"{url(operator)}/metrics", trust_env=False).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"mlxring_{name} "))


def test_a_client_that_leaves_ends_its_answer_on_the_ring(ring: Operator, client: openai.OpenAI) -> None:
    with client.chat.completions.create(messages=LONG, stream=True, max_tokens=900, **ALL) as stream:
        for number, _ in enumerate(stream):
            if number == 5:
                break
    until(lambda: figure(ring, "requests_running") == 0, 10)
    drawn = figure(ring, "completion_tokens_total")
    assert drawn < 200  # of 900
    client.chat.completions.create(messages=HI, max_tokens=3, **ALL)
    assert figure(ring, "completion_tokens_total") == drawn + 3  # nothing of the first came any more


def test_several_answers_have_seeds_that_count_up_and_can_be_had_alone(client: openai.OpenAI) -> None:
    def texts(**asked: Any) -> list[str]:
        found = client.chat.completions.create(model="", messages=HI, max_tokens=12, temperature=1, **asked)
        return [choice.message.content or "" for choice in found.choices]

    both = texts(n=2, seed=40)
    assert both == texts(seed=40) + texts(seed=41)
    assert both[0] != both[1]


def test_a_stop_string_that_tokens_cut_and_usage_in_the_stream(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(messages=HI, max_tokens=24, **ALL).choices[0].message.content or ""
    stop = whole[6:12]  # in the middle of words
    chunks = list(
        client.chat.completions.create(
            messages=HI,
            max_tokens=24,
            stop=[stop],
            stream=True,
            stream_options={"include_usage": True},
            **ALL,
        )
    )
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == whole[: whole.index(stop)]
    usage = chunks[-1].usage
    assert usage is not None and usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.prompt_tokens_details is not None


def test_a_document_of_a_schema_with_references_and_patterns(client: openai.OpenAI) -> None:
    schema = {
        "$defs": {"tag": {"type": "string", "pattern": "^[a-c]{2}$"}},
        "type": "object",
        "properties": {
            "one": {"$ref": "#/$defs/tag"},
            "two": {"$ref": "#/$defs/tag"},
            "kind": {"enum": [1, None]},
        },
        "required": ["one", "two", "kind"],
        "additionalProperties": False,
    }
    found = client.chat.completions.create(
        model="", messages=HI, max_tokens=60, temperature=1, seed=3,
        response_format={"type": "json_schema", "json_schema": {"name": "tags", "schema": schema}},
    )  # fmt: skip
    said = json.loads(found.choices[0].message.content or "")
    assert set(said) == {"one", "two", "kind"} and said["kind"] in (1, None)
    assert all(len(said[name]) == 2 and set(said[name]) <= set("abc") for name in ("one", "two"))


def test_a_tool_is_called_its_result_is_read_and_words_follow(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
    asked = client.chat.completions.create(
        messages=messages, tools=[WEATHER], tool_choice="required", max_tokens=60, **ALL
    )
    choice = asked.choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or ()
    arguments = json.loads(call.function.arguments)
    assert call.function.name == "weather" and set(arguments) == {"city", "unit"}
    assert arguments["unit"] in ("C", "F")
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny, 20 C"}]
    told = client.chat.completions.create(messages=messages, tools=[WEATHER], max_tokens=30, **ALL)
    assert told.choices[0].message.content
    assert told.choices[0].finish_reason in ("stop", "length")


def test_a_conversation_goes_on_from_its_computed_prefix(ring: Operator, client: openai.OpenAI) -> None:
    def say(text: str) -> Any:
        return client.chat.completions.create(
            messages=[{"role": "user", "content": text}], max_tokens=8,
            extra_body={"conversation_id": "talk"}, **ALL,
        ).usage  # fmt: skip

    first = say("Remember these words: " + "river mountain valley forest " * 20)
    second = say("What did I say?")
    assert second.prompt_tokens > first.prompt_tokens
    assert second.prompt_tokens_details.cached_tokens >= first.prompt_tokens // 64 * 64 > 0
    forgotten = httpx.delete(f"{url(ring)}/v1/conversations/talk", trust_env=False)
    assert forgotten.json()["deleted"] is True
    assert say("What did I say?").prompt_tokens < first.prompt_tokens


def test_a_long_prompt_is_told_as_it_is_read(client: openai.OpenAI) -> None:
    words = " ".join(str(number * 7919) for number in range(30))
    chunks = list(
        client.chat.completions.create(
            messages=[{"role": "user", "content": words}], max_tokens=2, stream=True,
            extra_body={"return_progress": True}, **ALL,
        )
    )  # fmt: skip
    told = [
        c.model_extra["prompt_progress"]
        for c in chunks
        if c.model_extra and "prompt_progress" in c.model_extra
    ]
    assert len(told) >= 2
    assert [p["processed"] for p in told] == sorted({p["processed"] for p in told})
    assert all(p["processed"] <= p["total"] for p in told)


class Reader:
    """Reads a stream in a thread, to its end."""

    def __init__(self, operator: Operator) -> None:
        self.lines: list[str] = []
        self.error = ""
        self._url = url(operator)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        until(lambda: sum("content" in line for line in self.lines) > 3, 60, lambda: self.error)

    def end(self, within: float) -> dict[str, Any]:
        """The last event."""
        self._thread.join(within)
        assert not self._thread.is_alive(), "the stream did not end"
        assert not self.error, self.error
        return json.loads(
            [line for line in self.lines if line.startswith("data: ")][-1].removeprefix("data: ")
        )

    def _read(self) -> None:
        body = {"messages": LONG, "stream": True, "max_tokens": 900}
        try:
            with httpx.stream(
                "POST", f"{self._url}/v1/chat/completions", json=body, trust_env=False, timeout=60
            ) as response:
                for line in response.iter_lines():
                    self.lines.append(line)
        except httpx.HTTPError as error:
            self.error = f"{type(error).__name__}: {error}"


def healthy(operator: Operator) -> bool:
    try:
        return httpx.get(f"{url(operator)}/health", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_rank_that_is_lost_gives_streams_an_error_and_the_api_is_not_well(
    operator_with: Callable[..., Operator], number: signal.Signals
) -> None:
    operator = operator_with()
    assert operator.run("up").code == 0
    assert healthy(operator)
    reader = Reader(operator)
    operator.rank(1).send_signal(number)
    last = reader.end(within=20)
    assert "error" in last and last["error"]["type"] == "server_error", last
    assert "data: [DONE]" not in reader.lines
    assert not healthy(operator)
    operator.nothing_is_left(within=20)


def test_a_ring_that_is_ended_tells_its_streams_and_remembers_its_conversations(
    operator_with: Callable[..., Operator],
) -> None:
    operator = operator_with()
    assert operator.run("up").code == 0
    body = {"messages": HI, "max_tokens": 8, "conversation_id": "kept"}
    httpx.post(
        f"{url(operator)}/v1/chat/completions", json=body, trust_env=False, timeout=60
    ).raise_for_status()
    reader = Reader(operator)
    assert operator.run("down").code == 0
    last = reader.end(within=10)
    assert "stopping" in last["error"]["message"] or "lost" in last["error"]["message"]
    operator.nothing_is_left()
    assert operator.run("up").code == 0
    held = httpx.get(f"{url(operator)}/v1/conversations", trust_env=False).json()["data"]
    assert [(one["id"], one["messages"]) for one in held] == [("kept", 2)]
    assert operator.run("down").code == 0

"""Clients that nobody here wrote, against a real gateway: OpenAI's own for Python, `llm` and `curl`."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest
from pydantic import BaseModel

from ringcore.spec.engine import Finished, Logprobs, Refused, Started
from tests.gateway.harness import MODEL, FakeRank, GatewayProcess
from tests.gateway.small_tokenizer import write_tokenizer
from tests.gateway.test_tools import WEATHER
from tests.gateway.tool_templates import MARKS, THINKING

pytestmark = pytest.mark.slow

KEY = "mlxring-0123456789abcdef0123"
SAID = "the quick brown fox 🦊 jumps"


class Jump(BaseModel):
    who: str
    height: int


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = write_tokenizer(tmp_path_factory.mktemp("clients"), marks=MARKS, chat_template=THINKING)
    with GatewayProcess(folder, api_key=KEY) as process:
        yield process.ready()


@asynccontextmanager
async def answering(
    gateway: GatewayProcess, text: str = SAID, reason: str = "stop"
) -> AsyncIterator[FakeRank]:
    """A rank 0 that gives every request the same answer, token by token."""
    rank = await FakeRank(gateway).connect(context=2048, vocab_size=330)
    tokens = rank.encode(text)

    async def answer() -> None:
        while True:
            try:
                submit = await rank.submit()
            except TimeoutError:
                continue
            rank.send(Started(id=submit.id))
            asked = submit.sampling.logprobs
            top = tuple((n, -float(n)) for n in range(2, 2 + (asked or 0)))
            rank.tokens(submit, tokens, [Logprobs(-0.25, top)] * len(tokens) if asked is not None else ())
            rank.finish(submit)

    task = asyncio.create_task(answer())
    try:
        yield rank
    finally:
        task.cancel()
        await asyncio.wait({task})
        await rank.close()


@pytest.fixture
async def client(gateway: GatewayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


HI = [{"role": "user", "content": "hi"}]


async def test_openai_asks_streams_and_counts(gateway: GatewayProcess, client: openai.AsyncOpenAI) -> None:
    async with answering(gateway) as rank:
        whole = await client.chat.completions.create(model=MODEL, messages=HI)
        assert whole.choices[0].message.content == SAID
        assert whole.usage is not None and whole.usage.completion_tokens == len(rank.encode(SAID))
        stream = await client.chat.completions.create(
            model=MODEL, messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert said == SAID
        assert chunks[-1].usage == whole.usage
        text = await client.completions.create(model=MODEL, prompt=["a", "b"], max_tokens=50)
        assert [choice.text for choice in text.choices] == [SAID, SAID]


async def test_openai_synchronously_from_a_thread(gateway: GatewayProcess) -> None:
    def ask() -> tuple[str, str, list[str]]:
        with openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as client:
            models = [model.id for model in client.models.list()]
            whole = client.chat.completions.create(model=MODEL, messages=HI)
            with client.chat.completions.create(model=MODEL, messages=HI, stream=True) as stream:
                streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            return whole.choices[0].message.content or "", streamed, models

    async with answering(gateway):
        assert await asyncio.to_thread(ask) == (SAID, SAID, [MODEL])


async def test_openai_reads_several_choices_and_their_log_probabilities(
    gateway: GatewayProcess, client: openai.AsyncOpenAI
) -> None:
    async with answering(gateway) as rank:
        found = await client.chat.completions.create(
            model=MODEL, messages=HI, n=2, seed=7, logprobs=True, top_logprobs=3
        )
        assert [choice.index for choice in found.choices] == [0, 1]
        for choice in found.choices:
            assert choice.logprobs is not None and choice.logprobs.content is not None
            assert len(choice.logprobs.content) == len(rank.encode(SAID))
            assert b"".join(bytes(t.bytes or ()) for t in choice.logprobs.content).decode() == SAID
            assert {len(t.top_logprobs) for t in choice.logprobs.content} == {3}


async def test_openai_calls_tools_whole_and_streamed(
    gateway: GatewayProcess, client: openai.AsyncOpenAI
) -> None:
    call = '<tool_call>{"name": "weather", "arguments": {"place": "Rom"}}</tool_call>'
    async with answering(gateway, f"<think>hm</think>{call}"):
        whole = await client.chat.completions.create(model=MODEL, messages=HI, tools=[WEATHER])
        choice = whole.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        assert json.loads(choice.message.tool_calls[0].function.arguments) == {"place": "Rom"}
        assert choice.message.model_extra == {"reasoning_content": "hm"}
        async with client.chat.completions.stream(model=MODEL, messages=HI, tools=[WEATHER]) as stream:
            final = await stream.get_final_completion()
        (again,) = final.choices[0].message.tool_calls or ()
        assert (again.function.name, json.loads(again.function.arguments)) == ("weather", {"place": "Rom"})


async def test_openai_parses_an_answer_that_follows_a_model_of_pydantic(
    gateway: GatewayProcess, client: openai.AsyncOpenAI
) -> None:
    async with answering(gateway, '{"who": "fox", "height": 3}'):
        found = await client.chat.completions.parse(model=MODEL, messages=HI, response_format=Jump)
        assert found.choices[0].message.parsed == Jump(who="fox", height=3)


async def test_openai_raises_its_own_errors_for_refusals(
    gateway: GatewayProcess, client: openai.AsyncOpenAI
) -> None:
    async with answering(gateway):
        with pytest.raises(openai.BadRequestError) as wrong:
            await client.chat.completions.create(model=MODEL, messages=HI, modalities=["audio"])
        assert wrong.value.param == "modalities"
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="gpt-4o", messages=HI)
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="wrong").models.list()
        with pytest.raises(openai.InternalServerError, match="not offered"):
            await client.embeddings.create(model=MODEL, input="x")


async def test_openai_hears_of_a_full_queue_and_of_a_ring_that_broke_under_a_stream(
    gateway: GatewayProcess, client: openai.AsyncOpenAI
) -> None:
    rank = await FakeRank(gateway).connect(context=2048, vocab_size=330)
    asking = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=HI))
    rank.send(Refused(id=(await rank.submit()).id, cause="64 wait", kind="busy"))
    with pytest.raises(openai.RateLimitError) as full:
        await asking
    assert full.value.response.headers["retry-after"] == "1"
    opening = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=HI, stream=True))
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    rank.text(submit, "the fox")
    stream = await opening
    await rank.close()
    with pytest.raises(openai.APIError, match="lost"):
        [chunk async for chunk in stream]


async def test_openai_that_closes_a_stream_frees_the_ring(
    gateway: GatewayProcess, client: openai.AsyncOpenAI
) -> None:
    rank = await FakeRank(gateway).connect(context=2048, vocab_size=330)
    opening = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=HI, stream=True))
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    rank.text(submit, "the")
    await (await opening).close()
    assert (await rank.cancel()).id == submit.id
    rank.send(Finished(id=submit.id, reason="cancelled", completion_tokens=1))
    await rank.close()


async def run(*command: str, env: dict[str, str] | None = None) -> str:
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, timeout=60, env={**os.environ, **(env or {})}
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("more", [[], ["--no-stream"], ["--schema", "who, height int"]])
async def test_llm_talks_to_it(gateway: GatewayProcess, tmp_path: Path, more: list[str]) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: ring\n  model_name: {MODEL}\n  api_base: {gateway.url}/v1\n  api_key_name: ring\n"
        "  supports_schema: true\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"ring": KEY}))
    answer = '{"who": "fox", "height": 3}' if "--schema" in more else SAID
    async with answering(gateway, answer):
        said = await run(
            sys.executable, "-m", "llm", "-m", "ring", "--no-log", "hi", *more,
            env={"LLM_USER_PATH": str(tmp_path), "NO_PROXY": "*"},
        )  # fmt: skip
    assert said.strip() == answer


async def test_curl_asks_streams_and_is_refused(gateway: GatewayProcess) -> None:
    url = gateway.url + "/v1/chat/completions"
    common = ("curl", "-sS", "--noproxy", "*", "-H", "Content-Type: application/json")
    keyed = (*common, "-H", f"Authorization: Bearer {KEY}", url, "-d")
    async with answering(gateway):
        whole = json.loads(await run(*keyed, json.dumps({"messages": HI})))
        assert whole["choices"][0]["message"]["content"] == SAID
        streamed = await run(*keyed, json.dumps({"messages": HI, "stream": True}))
        assert streamed.endswith("data: [DONE]\n\n")
        told = await run(*common, "-o", os.devnull, "-w", "%{http_code}", url, "-d", "{}")
        assert told == "401"

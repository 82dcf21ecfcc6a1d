"""Answers that follow a grammar through two stages of a real model, beside a free one, in one process."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from ringcore.engine.engine import Engine
from ringcore.engine.grammar import Grammars
from ringcore.engine.limits import Limits
from ringcore.engine.scheduler import Bounds
from ringcore.gateway.grammar import grammar_of
from ringcore.models.load import load_stage
from ringcore.rank.executor import Executor
from ringcore.rank.link import Message
from ringcore.spec.engine import EngineToGateway, Finished, Refused, Sampling, Submit, Token
from ringcore.spec.shard import Shard
from tests.models.colours import END, QUESTION, SCHEMA, check

pytestmark = pytest.mark.slow


def answers(model: Path, prompt: list[int], asked: dict[str, Sampling]) -> list[EngineToGateway]:
    """All that rank 0 says, when each is asked for under its name at once."""
    stages = [
        load_stage(model, shard, dtype="float32", on_progress=lambda _share, _text: None)
        for shard in (Shard(0, 15, 30), Shard(15, 30, 30))
    ]
    size = stages[-1].vocab_size
    executors = [Executor(stage, Grammars(model, size)) for stage in stages]
    bounds = Bounds(
        stages=2, sequences=4, chunk=64, max_prompt_tokens=8000, least_chunk=32, lookahead=1, rows=4
    )
    engine = Engine(Limits(context=512, vocab_size=size, bounds=bounds, in_flight=16))
    said: list[EngineToGateway] = []
    for name, sampling in asked.items():
        most = 120 if sampling.grammar else 12
        said += engine.submit(
            Submit(id=name, prompt=prompt, max_tokens=most, stop_tokens=[END], sampling=sampling)
        )
    while not engine.idle:
        step, more = engine.next_step()
        assert step is not None
        message = Message(step)
        for executor in executors:
            message = executor.perform(message)
        said += more + engine.acknowledge(message.step)
    return said


def test_documents_come_of_bound_answers_and_free_ones_beside_them_stay_as_they_are(
    demo_model_path: Path,
) -> None:
    tokenizer = Tokenizer.from_file(str(demo_model_path / "tokenizer.json"))
    prompt = tokenizer.encode(QUESTION).ids
    grammar = grammar_of(SCHEMA, "x")
    asked = {
        "greedy": Sampling(grammar=grammar),
        "drawn": Sampling(grammar=grammar, temperature=1.0, seed=5),
        "broken": Sampling(grammar="nonsense"),
        "free": Sampling(),
    }
    said = answers(demo_model_path, prompt, asked)

    def tokens(name: str, of: list[EngineToGateway] = said) -> list[int]:
        return [message.token for message in of if isinstance(message, Token) and message.id == name]

    for name in ("greedy", "drawn"):
        check(tokenizer, tokens(name))
    ends = {message.id: message.reason for message in said if isinstance(message, Finished)}
    assert ends == {"greedy": "stop", "drawn": "stop", "free": "length"}
    (refused,) = [message for message in said if isinstance(message, Refused)]
    assert (refused.id, tokens("broken")) == ("broken", [])
    assert "grammar" in refused.cause
    assert tokens("free") == tokens("free", answers(demo_model_path, prompt, {"free": Sampling()}))

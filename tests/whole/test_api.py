"""The API of a real ring as its clients meet it: key, TLS, formats, figures, conversations."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
import pytest

from tests.gateway.test_access import make_certificate
from tests.whole.harness import Operator

pytestmark = pytest.mark.slow

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "big": {"type": "boolean"}},
    "required": ["city", "big"],
    "additionalProperties": False,
}
HI = [{"role": "user", "content": "Name the capital of France."}]


@pytest.mark.timeout(170)
def test_with_a_key_and_a_certificate_the_console_talks_and_openais_client_does(
    operator_with: Callable[..., Operator], tmp_path: Path
) -> None:
    cert, key_file = make_certificate(tmp_path)
    operator = operator_with(ranks=2)
    operator.top = {
        "api": {"port": operator.api_port, "key": "always", "tls_cert": cert, "tls_key": key_file}
    }
    operator.write()
    assert operator.run("key").code == 8  # not deployed yet
    up = operator.run("up", "--json")
    assert up.code == 0, up.err
    url = json.loads(up.out)["api"]
    assert url == f"https://127.0.0.1:{operator.api_port}"
    shown = operator.run("key")
    key = shown.out.strip()
    assert (shown.code, key.startswith("mlxring-")) == (0, True)
    assert key not in up.out + up.err + operator.run("logs").out

    chat = operator.run("chat", "-p", HI[0]["content"])
    assert chat.code == 0, chat.err
    assert "Paris" in chat.out

    with httpx.Client(verify=False, trust_env=False, timeout=60) as http:
        assert http.get(f"{url}/v1/models").status_code == 401
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, http_client=http, max_retries=0)
        model = client.models.list().data[0].id
        whole = client.chat.completions.create(model=model, messages=HI, max_tokens=20, temperature=0)
        with client.chat.completions.create(
            model=model, messages=HI, max_tokens=20, temperature=0, stream=True
        ) as stream:
            streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert streamed == whole.choices[0].message.content
        assert "Paris" in streamed

        bound = client.chat.completions.create(
            model=model, messages=HI, max_tokens=100,
            response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}},
        )  # fmt: skip
        found = json.loads(bound.choices[0].message.content or "")
        assert set(found) == {"city", "big"} and isinstance(found["big"], bool)

        two = client.chat.completions.create(
            model=model, messages=HI, max_tokens=8, n=2, seed=3, temperature=1, logprobs=True
        )
        assert len(two.choices) == 2
        assert all(c.logprobs and len(c.logprobs.content or ()) > 0 for c in two.choices)

        for said in ("My name is Ada.", "And now?"):
            body = {"messages": [{"role": "user", "content": said}], "conversation_id": "a", "max_tokens": 8}
            http.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})
        headers = {"Authorization": f"Bearer {key}"}
        held = http.get(f"{url}/v1/conversations", headers=headers).json()["data"]
        assert [(one["id"], one["messages"]) for one in held] == [("a", 4)]

        figures = http.get(f"{url}/metrics", headers=headers).text
        for name in ('rank_steps_total{rank="1"}', 'rank_memory_bytes{kind="weight",rank="1"}', "ready 1.0"):
            assert f"mlxring_{name}" in figures
        assert http.get(f"{url}/health").json()["ready"] is True

    new = operator.run("key", "--new")
    assert new.code == 0 and new.out.strip() != key
    assert operator.run("down").code == 0
    operator.nothing_is_left()

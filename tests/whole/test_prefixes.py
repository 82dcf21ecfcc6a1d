"""What a ring keeps of earlier prompts outlives it: on its hosts' disks, and in the operator's archive."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.whole.harness import Operator, until

pytestmark = pytest.mark.slow
PROMPT = " ".join(f"Line {n}: the ring of number {n} has {n} hosts." for n in range(1, 30))
BLOCK = 64


def asked(operator: Operator) -> tuple[str, int]:
    """The answer to the prompt, and how many of its tokens were not computed."""
    url = f"http://127.0.0.1:{operator.api_port}/v1"
    with httpx.Client(trust_env=False, timeout=120) as http:
        model = http.get(f"{url}/models").json()["data"][0]["id"]
        body = {"model": model, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
        response = http.post(f"{url}/completions", json=body)
    assert response.status_code == 200, response.text
    done = response.json()
    return done["choices"][0]["text"], done["usage"]["prompt_tokens_details"]["cached_tokens"]


def listed(operator: Operator) -> dict[str, Any]:
    return json.loads(operator.run("cache", "--json").out)


def on_disk(operator: Operator) -> list[int]:
    return [each["disk_blocks"] for each in listed(operator)["hosts"].values()]


def came_up(operator: Operator) -> None:
    up = operator.run("up")
    assert up.code == 0, up.err


def went_down(operator: Operator) -> None:
    assert operator.run("down").code == 0


@pytest.mark.timeout(600)
def test_after_a_restart_after_clearing_and_after_an_import_the_answer_is_the_same(
    operator_with: Callable[..., Operator], tmp_path: Path
) -> None:
    operator = operator_with(top={"cache": {"disk": "200 MiB"}})
    file = tmp_path / "kept.tar"
    nothing = operator.run("cache", "--export", str(file))
    assert nothing.code == 2 and "has nothing in files yet" in nothing.err

    came_up(operator)
    cold, none = asked(operator)
    again, warm = asked(operator)
    assert (again, none) == (cold, 0) and warm > 4 * BLOCK
    blocks = listed(operator)["hosts"]["h0"]["blocks"]
    until(lambda: on_disk(operator) == [blocks, blocks], 30, lambda: str(listed(operator)))
    assert operator.run("cache", "--import", str(file)).code == 2  # there is no such file
    went_down(operator)

    below = operator.run("cache")
    assert below.code == 8 and f"h1            {blocks:>8}" in below.out, below.out
    came_up(operator)
    assert asked(operator) == (cold, warm)
    exported = operator.run("cache", "--export", str(file), "--json")
    assert exported.code == 0, exported.err
    assert json.loads(exported.out)["blocks"] == blocks
    assert file.stat().st_mode & 0o777 == 0o600
    refused = operator.run("cache", "--import", str(file))
    assert refused.code == 6 and f"mlxring down {operator.profile}" in refused.err

    assert operator.run("cache", "--clear").code == 0
    assert asked(operator) == (cold, 0)
    went_down(operator)
    assert operator.run("cache", "--clear").code == 0
    assert "nothing is kept in files" in operator.run("cache").out

    taken = operator.run("cache", "--import", str(file), "--json")
    assert taken.code == 0, taken.err
    assert json.loads(taken.out)["files"] == 2 * blocks
    came_up(operator)
    assert asked(operator) == (cold, warm)
    assert all(host["damaged"] == 0 for host in listed(operator)["hosts"].values())
    went_down(operator)
    operator.nothing_is_left()

"""Layers move between real hosts over SSH, and prompts begin with what the hosts had of them before."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.hosts.network import within
from tests.hosts.room import API_PORT, RoomOperator
from tests.whole.harness import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]
LETTER = "Dear operator, three machines hold this model together, and each keeps the keys of its own layers. "
_ASK = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), {"content-type": "application/json"})
with urllib.request.urlopen(request, timeout=120) as answer:
    print(answer.read().decode())
"""


def ask(operator: RoomOperator) -> tuple[str, int]:
    """The greedy answer, asked on the leader, and how many tokens of the prompt were not computed."""
    body = {
        "messages": [{"role": "user", "content": LETTER * 8 + "Who keeps the keys?"}],
        "max_tokens": 12,
        "temperature": 0,
    }
    leader = operator.room.machines["first"]
    ran = subprocess.run(
        [*within(leader.pid), sys.executable, "-c", _ASK, f"http://127.0.0.1:{API_PORT}/v1/chat/completions"],
        input=json.dumps(body),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    usage = answer["usage"]["prompt_tokens_details"]
    return answer["choices"][0]["message"]["content"], usage["cached_tokens"]


def test_after_the_profile_moved_layers_hosts_get_blocks_from_each_other(
    operator_with: Callable[..., RoomOperator],
) -> None:
    operator = operator_with(ring={"layers": [10, 10, 10]}, top={"cache": {"disk": "256 MiB"}})
    assert (up := operator.run("up")).code == 0, up.err
    text, cached = ask(operator)
    assert text and cached == 0
    homes = [machine.home for machine in operator.room.machines.values()]

    def written() -> list[int]:
        return [len(list(home.glob(".mlxring/runs/t/prefix/*/*.safetensors"))) for home in homes]

    until(lambda: min(written()) == max(written()) >= 2, 20, lambda: f"blocks: {written()}")
    (blocks, *_) = written()
    assert operator.run("down").code == 0

    operator.ring["layers"] = [6, 10, 14]
    operator.write()
    assert (up := operator.run("up")).code == 0, up.err
    again, cached = ask(operator)
    assert again == text and cached >= 64 * (blocks - 1)
    told = operator.run("cache")
    assert told.code == 0 and "came from other hosts" in told.out, told.out
    assert operator.run("down").code == 0
    operator.nothing_is_left()
    for machine, home in zip(operator.room.machines.values(), homes, strict=True):
        for path in home.glob(".mlxring/runs/t/prefix/*/*"):
            status = path.stat()
            assert (status.st_uid, status.st_mode & 0o777) == (machine.uid, 0o600), path

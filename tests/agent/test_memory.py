"""A rank that is short of memory is heard of at the leader's API, by way of both agents."""

import json
import urllib.error

import pytest
from msgspec import structs

from ringcore.spec.events import MemoryPressure, RingChanged
from ringcore.spec.units import MIB
from tests.agent.harness import Make
from tests.agent.test_life import ask
from tests.ring.harness import until

pytestmark = pytest.mark.slow


def test_a_member_over_its_ceiling_makes_the_api_refuse_with_the_numbers(make_agents: Make) -> None:
    agents = make_agents()
    stages = agents.plan.stages
    agents.plan = structs.replace(
        agents.plan, stages=(stages[0], structs.replace(stages[1], ceiling_bytes=50 * MIB))
    )
    agents.deploy("run1")
    agents.start_all()
    member = agents.attach(1)
    url = agents.attach(0).wait(RingChanged, phase="serving").api_url
    said = member.wait(MemoryPressure, level="full")
    assert (said.rank, said.host, said.limit_bytes) == (1, "h1", 50 * MIB)

    answers: list[urllib.error.HTTPError] = []

    def refused() -> bool:
        try:
            ask(url)
        except urllib.error.HTTPError as error:
            answers.append(error)
            return True
        return False

    until(refused, "a refusal")
    assert answers[0].code == 503 and answers[0].headers["Retry-After"]
    error = json.load(answers[0])["error"]
    assert error["code"] == "short_of_memory"
    assert "rank 1 on h1 is short of memory" in error["message"] and "50.0 MiB" in error["message"]
    assert agents.attach(0, stop=True).to_the_end()
    agents.nothing_is_left()

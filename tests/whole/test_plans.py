"""Rings whose hosts are not simply the profile's in their order, and plans that are only asked for."""

import json
from collections.abc import Callable

import msgspec
import pytest

from ringcore.spec.plan import Plan
from tests.whole.harness import Operator

pytestmark = pytest.mark.slow


def hosts_of(operator: Operator) -> list[str]:
    plan = operator.run("plan", "--json")
    assert plan.code == 0, plan.err
    return [stage["host"] for stage in json.loads(plan.out)["stages"]]


def test_a_ring_without_the_host_that_latency_leaves_out_serves_and_ends(
    operator_with: Callable[..., Operator],
) -> None:
    operator = operator_with(ring={"objective": "latency"})
    assert hosts_of(operator) == ["h0"]
    up = operator.run("up", "--json")
    assert up.code == 0, up.err
    chat = operator.run("chat", "-p", "Name the capital of France.")
    assert chat.code == 0 and "Paris" in chat.out, chat.err
    status = operator.run("status")
    assert status.code == 0 and "1/1 ranks" in status.out
    assert not [process for process in operator.processes("agent") if "/h1/" in process.info["cwd"]]
    logs = operator.run("logs").out
    assert "h1 is left out" in logs, "the planner's reasons are in the log"
    assert operator.run("down").code == 0
    operator.nothing_is_left()


def test_a_ring_in_the_order_that_the_planner_found_serves_and_ends(
    operator_with: Callable[..., Operator],
) -> None:
    """h2 is last in the profile and small: the embedding would fill more of it than of the others."""
    ring = {"arrange": True, "objective": "memory", "sequences": 1, "context": 256}
    operator = operator_with(ranks=3, ring=ring)
    operator.hosts[0]["memory"] = operator.hosts[1]["memory"] = "600 MiB"
    operator.hosts[2]["memory"] = "150 MiB"
    operator.write()
    assert hosts_of(operator) == ["h0", "h2", "h1"]
    assert operator.run("up").code == 0
    chat = operator.run("chat", "-p", "Name the capital of France.")
    assert chat.code == 0 and "Paris" in chat.out, chat.err
    state = json.loads(operator.run("status", "--json").out)["state"]
    assert [(host["rank"], host["name"], host["phase"]) for host in state["hosts"]] == [
        (0, "h0", "ready"),
        (1, "h2", "ready"),
        (2, "h1", "ready"),
    ]
    assert operator.run("down").code == 0
    operator.nothing_is_left()


def test_what_if_changes_the_plan_and_not_the_profile(operator: Operator) -> None:
    before = operator.profile.read_bytes()
    text = operator.run("plan", "--what-if", "context=2048,sequences=2,layers=20+10")
    assert text.code == 0, text.err
    assert "context 2048 x 2" in text.out and "h0 20, h1 10" in text.out and "what if" in text.out
    asked = operator.run("plan", "--json", "--what-if", "without=h1")
    assert asked.code == 0, asked.err
    plan = msgspec.json.decode(asked.out, type=Plan)
    plan.check()
    assert plan.hash == plan.digest
    assert [stage.host for stage in plan.stages] == ["h0"]
    assert operator.profile.read_bytes() == before
    wrong = operator.run("plan", "--what-if", "contxt=1")
    assert wrong.code == 2 and 'did you mean "context"?' in wrong.err

"""`check --measure` through the command line, and that later plans count with what it found."""

import json

import pytest

from tests.whole.harness import Operator

pytestmark = pytest.mark.slow


def test_what_check_measured_later_plans_say(operator: Operator) -> None:
    before = operator.run("plan")
    assert before.code == 0, before.err
    assert "measured on" not in before.out

    checked = operator.run("check", "--measure", "--json")
    assert checked.code == 0, checked.err
    hosts = json.loads(checked.out)["hosts"]
    found = [host["measured"] for host in hosts]
    assert found[0] == found[1], "two ranks on one machine were measured twice"
    assert found[0]["bandwidth"] > 0 and found[0]["compute"] > 0
    assert [host["facts"]["measured"] for host in hosts] == found
    assert (operator.folder / "home/.local/state/mlxring/speeds.json").exists()

    told = operator.run("check")
    assert f"reads {found[0]['bandwidth']:.1f} GB/s" in told.out and "measured just now" in told.out
    after = operator.run("plan")
    assert f"{found[0]['bandwidth']:.0f} GB/s measured on 20" in after.out

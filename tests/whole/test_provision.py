"""What `mlxring provision --dry-run` says is what `mlxring provision` does; then nothing is left to do."""

import json

from tests.whole.harness import Operator


def test_a_dry_run_prints_exactly_what_the_run_then_does(operator: Operator) -> None:
    dry = operator.run("provision", "--dry-run", "--json")
    assert dry.code == 0, dry.err
    intended = {host["name"]: host["actions"] for host in json.loads(dry.out)["hosts"]}
    assert [action["text"].split()[0] for action in intended["h0"]] == ["making", "sending"]
    assert not list(operator.folder.rglob("mlxring-home"))

    done = operator.run("provision")
    assert done.code == 0, done.err
    for host, actions in intended.items():
        said = [line for line in done.err.splitlines() if line.startswith(host) and " provision " in line]
        assert [line.split(maxsplit=2)[2:] for line in said] == [[a["command"]] for a in actions]
    assert len(list(operator.folder.rglob("mlxring-home"))) == 2

    again = operator.run("provision", "--dry-run")
    assert (again.code, again.out) == (0, "h0: nothing to do\nh1: nothing to do\n")


def test_a_dry_run_that_cannot_be_done_says_why(operator: Operator) -> None:
    operator.hosts[1]["python"] = "/no/such/python"
    operator.write()
    dry = operator.run("provision", "--dry-run")
    assert dry.code == 4 and "/no/such/python" in dry.err and "remedy" in dry.err
    assert dry.out == ""

"""The whole chain through the command line: up, chat, a console that dies, status, logs, down."""

import json
import signal

from tests.whole.harness import Operator, until


def test_up_chat_status_logs_and_down(operator: Operator) -> None:
    up = operator.run("up", "--json")
    assert up.code == 0, up.err
    assert json.loads(up.out)["phase"] == "serving"

    chat = operator.run("chat", "-p", "Name the capital of France.", "--json")
    assert chat.code == 0, chat.err
    answer = json.loads(chat.out)
    assert "Paris" in answer["text"]
    assert answer["figures"]["completion_tokens"] > 0

    status = operator.run("status", "--json")
    assert status.code == 0
    state = json.loads(status.out)["state"]
    assert [host["phase"] for host in state["hosts"]] == ["ready", "ready"]
    assert all(host["steps"] > 0 for host in state["hosts"])

    again = operator.run("up")
    assert again.code == 6
    assert "already runs" in again.err

    logs = operator.run("logs", "--rank", "1")
    assert logs.code == 0
    assert "rank 1" in logs.out and "rank 0" not in logs.out

    down = operator.run("down")
    assert down.code == 0, down.err
    operator.nothing_is_left()

    assert operator.run("status").code == 8
    lost = operator.run("chat", "-p", "Are you there?")
    assert lost.code == 8
    assert "mlxring up" in lost.err


def test_a_killed_console_leaves_the_ring_serving_and_no_log_line_is_missing(operator: Operator) -> None:
    assert operator.run("up").code == 0
    console = operator.start("chat", "-p", "Count from one to two hundred in words.")
    assert console.stdout is not None
    assert console.stdout.read(8)  # in the middle of an answer
    console.send_signal(signal.SIGKILL)
    console.wait(10)
    console.stdout.close()
    assert console.stderr is not None
    console.stderr.close()

    # the answer was given up with its reader: both ranks come to rest, nothing stays in flight
    def at_rest() -> bool:
        hosts = json.loads(operator.run("status", "--json").out)["state"]["hosts"]
        return all(host["count"].get("in_flight", 0) == 0 for host in hosts)

    until(at_rest, 20)
    chat = operator.run("chat", "-p", "Name the capital of France.")
    assert chat.code == 0, chat.err
    assert "Paris" in chat.out

    for host in ("h0", "h1"):
        records = [json.loads(line) for line in operator.run("logs", "--json").out.splitlines()]
        assert [record for record in records if record["host"] == host]
    state = json.loads(operator.run("status", "--json").out)["state"]
    assert all(host["failure"] is None for host in state["hosts"])  # a gap in the journal would be one
    assert operator.run("down", "--purge").code == 0
    operator.nothing_is_left()
    assert not list(operator.folder.rglob("mlxring-home"))


def test_three_ranks_split_by_hand_serve(operator_with) -> None:  # type: ignore[no-untyped-def]
    operator = operator_with(ranks=3, ring={"layers": [7, 12, 11]})
    assert operator.run("up").code == 0
    chat = operator.run("chat", "-p", "Name the capital of France.")
    assert chat.code == 0, chat.err
    assert "Paris" in chat.out
    plan = json.loads(operator.run("plan", "--json").out)
    assert [stage["shard"] for stage in plan["stages"]] == [
        {"start": 23, "end": 30, "total": 30},
        {"start": 11, "end": 23, "total": 30},
        {"start": 0, "end": 11, "total": 30},
    ]
    assert operator.run("down").code == 0
    operator.nothing_is_left()

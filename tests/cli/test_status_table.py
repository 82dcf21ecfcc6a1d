"""``mlxring status`` for a person: what is gone is not told as ready, and a host's words stay words."""

import pytest
from msgspec import structs

from console.commands.runtime import say
from console.commands.status import table
from console.reduce import apply
from console.state import ClusterState, initial
from ringcore.spec.errors import Failure
from ringcore.spec.events import AgentLost, Event, RankChanged, Recorded, RingChanged
from ringcore.spec.profile import HostOptions, Profile
from tests.screen import fake

PROFILE = Profile(
    name="pair",
    model="m",
    hosts=tuple(HostOptions(name=name, ssh=name, address="127.0.0.1") for name in ("one", "two")),
)


def after(*events: tuple[str, Event]) -> ClusterState:
    state = initial(PROFILE)
    for seq, (host, event) in enumerate(events, 1):
        state = apply(state, Recorded(host=host, seq=seq, time=float(seq), event=event))
    return state


def test_a_rank_whose_agent_is_gone_is_lost_and_not_ready() -> None:
    gone = AgentLost(failure=Failure(cause="its agent was killed", host="two", rank=1))
    shown = table(
        after(
            ("one", RankChanged(rank=0, phase="ready")),
            ("two", RankChanged(rank=1, phase="ready")),
            ("two", gone),
        )
    )
    assert "  1/2 ranks  " in shown
    rows = {line.split()[1]: line.split()[2] for line in shown.splitlines() if line[:4].strip().isdigit()}
    assert rows == {"one": "ready", "two": "lost"}
    assert "rank 1 two: its agent was killed" in shown


def test_what_a_host_says_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    serving = RingChanged(phase="serving", epoch=1, api_url="http://x/\x1b[2J\x9b2J")
    say(table(after(("one", serving))))
    out = capsys.readouterr().out
    assert "http://x/" in out and not {"\x1b", "\x9b"} & set(out)


def test_columns_stand_under_their_heads_whatever_the_names() -> None:
    long = structs.replace(
        PROFILE, hosts=(structs.replace(PROFILE.hosts[0], name="a" * 40), PROFILE.hosts[1])
    )
    for profile in (PROFILE, long):
        head, *rows = table(initial(profile)).splitlines()[2:5]
        for name, column in (("layers", "-"), ("phase", "-"), ("computes", "-")):
            assert [row[head.index(name)] for row in rows] == [column, column]
        assert [row[head.index("steps") + 4] for row in rows] == ["0", "0"]


def test_a_host_that_the_plan_leaves_out_has_no_rank() -> None:
    plan = structs.replace(fake.PLAN, stages=(structs.replace(fake.PLAN.stages[0], host="two"),))
    shown = table(after(("two", RingChanged(phase="serving", epoch=1, plan=plan))))
    assert [line.split()[:2] for line in shown.splitlines()[3:5]] == [["0", "two"], ["-", "one"]]


def test_only_rows_are_wider_than_a_narrow_terminal() -> None:
    gone = AgentLost(failure=Failure(cause="its agent " * 20, remedy="start " * 20, host="two", rank=1))
    lines = table(after(("two", gone)), 60).splitlines()
    rows = [line for line in lines if line.startswith("rank  ") or line[:4].strip().isdigit()]
    assert all(len(line) <= 60 for line in lines if line not in rows)

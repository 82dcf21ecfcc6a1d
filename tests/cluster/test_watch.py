"""The running ring seen through several journals: one order by time, each event once, every end named."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from console.cluster.watch import Watch
from ringcore.spec.control import Happened, Welcome, line
from ringcore.spec.errors import Failure, HostError, RingError
from ringcore.spec.events import AgentLost, Event, LogLine, RankChanged, Recorded, RingChanged
from ringcore.spec.profile import HostOptions


class Journal:
    """A host whose ``attach`` answers from ``records``, then stays open while ``running``."""

    def __init__(self, rank: int, running: bool = True) -> None:
        self.options = HostOptions(name=f"h{rank}", ssh="local", address="127.0.0.1")
        self.rank = rank
        self.running = running
        self.records: list[Recorded] = []
        self.more = asyncio.Event()
        self.breaks = False
        self.silent = False

    def add(self, time: float, event: Event) -> "Journal":
        self.records.append(
            Recorded(host=self.options.name, seq=len(self.records) + 1, time=time, event=event)
        )
        return self

    @asynccontextmanager
    async def stream(self, argv: Sequence[str], *, timeout: float) -> AsyncIterator["_Attached"]:
        assert "attach" in argv
        yield _Attached(self)


class _Attached:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def send(self, data: bytes) -> None:
        assert data.endswith(b"\n")

    async def lines(self) -> AsyncIterator[bytes]:
        journal = self._journal
        if journal.silent:
            await asyncio.Event().wait()
        yield line(
            Welcome(
                host=journal.options.name, rank=journal.rank, ring="t", run_id="r", version="0",
                running=journal.running, last_seq=len(journal.records),
            )
        ).rstrip()  # fmt: skip
        at = 0
        while True:
            while at < len(journal.records):
                yield line(Happened(record=journal.records[at])).rstrip()
                at += 1
            if journal.breaks:
                raise HostError("the SSH connection was lost", host=journal.options.name)
            if not journal.running:
                return
            journal.more.clear()
            await journal.more.wait()


def log(text: str) -> LogLine:
    return LogLine(source="rank", level="INFO", text=text)


def watch(seen: list[Recorded]) -> Watch:
    return Watch("t", "h0", seen.append)


def texts(seen: Sequence[Recorded]) -> list[str]:
    return [record.event.text for record in seen if isinstance(record.event, LogLine)]


async def settle(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_what_journals_hold_comes_in_one_order_by_time_and_then_what_happens() -> None:
    seen: list[Recorded] = []
    first, second = Journal(0), Journal(1)
    for n in range(3):
        first.add(n, log(f"a{n}"))
        second.add(n + 0.5, log(f"b{n}"))
    following = asyncio.create_task(watch(seen).follow([first, second]))  # type: ignore[list-item]
    await settle(lambda: len(seen) == 6)
    assert texts(seen) == ["a0", "b0", "a1", "b1", "a2", "b2"]
    second.add(3, log("later"))
    second.more.set()
    await settle(lambda: len(seen) == 7)
    assert texts(seen)[-1] == "later"
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_second_replay_brings_only_what_is_new() -> None:
    seen: list[Recorded] = []
    host = Journal(0).add(1, log("old"))
    view = watch(seen)
    assert await view.replay([host])  # type: ignore[list-item]
    assert await view.replay([host])  # type: ignore[list-item]
    host.add(2, log("new"))
    assert await view.replay([host])  # type: ignore[list-item]
    assert texts(seen) == ["old", "new"]


async def test_a_host_that_does_not_answer_holds_the_others_back_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("console.cluster.watch._CATCH_UP_SECONDS", 0.1)
    seen: list[Recorded] = []
    silent = Journal(1)
    silent.silent = True
    answering = Journal(0).add(1, log("here"))
    following = asyncio.create_task(watch(seen).follow([answering, silent]))  # type: ignore[list-item]
    await settle(lambda: texts(seen) == ["here"])
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_journal_that_breaks_off_says_that_the_agent_was_killed() -> None:
    seen: list[Recorded] = []
    leader = Journal(0, running=False).add(1, RingChanged(phase="serving", epoch=1))
    member = Journal(1, running=False).add(1, RankChanged(rank=1, phase="ready"))
    assert not await watch(seen).replay([leader, member])  # type: ignore[list-item]
    lost = {r.host: r.event for r in seen if isinstance(r.event, AgentLost)}
    for host, event in lost.items():
        assert event.failure is not None and event.failure.host == host and "killed" in event.failure.cause
    assert set(lost) == {"h0", "h1"}
    assert [r.event.phase for r in seen if isinstance(r.event, RingChanged)] == ["serving", "failed"]


async def test_a_journal_with_its_end_says_nothing_more() -> None:
    seen: list[Recorded] = []
    leader = Journal(0, running=False).add(1, RingChanged(phase="stopped", epoch=1))
    await watch(seen).replay([leader])  # type: ignore[list-item]
    assert [type(record.event) for record in seen] == [RingChanged]


async def test_an_agent_killed_while_it_is_followed_is_named() -> None:
    seen: list[Recorded] = []
    leader = Journal(0).add(1, RingChanged(phase="serving", epoch=1))
    following = asyncio.create_task(watch(seen).follow([leader]))  # type: ignore[list-item]
    await settle(lambda: seen)
    leader.running = False
    leader.more.set()
    assert await following == []
    assert any(isinstance(r.event, RingChanged) and r.event.phase == "failed" for r in seen)


async def test_a_start_ends_with_serving_or_with_the_rings_own_failure() -> None:
    failure = Failure(cause="no disk", remedy="buy one", host="h1", rank=1, exit_code=6)
    seen: list[Recorded] = []
    good, bad = Journal(0), Journal(0)
    good.add(1, RingChanged(phase="loading", epoch=1)).add(2, RingChanged(phase="serving", epoch=1))
    await watch(seen).serving([good])  # type: ignore[list-item]
    bad.add(1, RingChanged(phase="failed", epoch=1, failure=failure))
    with pytest.raises(RingError, match="no disk"):
        await watch(seen).serving([bad])  # type: ignore[list-item]


async def test_a_start_whose_leader_is_lost_does_not_wait_for_ever() -> None:
    leader, member = Journal(0).add(1, RingChanged(phase="loading", epoch=1)), Journal(1)
    leader.breaks = True
    with pytest.raises(HostError, match="lost"):
        await asyncio.wait_for(watch([]).serving([leader, member]), 5)  # type: ignore[list-item]


async def test_an_agent_that_says_nothing_is_told_and_waited_for_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that was stopped: its socket takes the connection all the same."""
    monkeypatch.setattr("console.cluster.follow.WELCOME_SECONDS", 0.05)
    stopped = Journal(0)
    stopped.silent = True
    seen: list[Recorded] = []
    with pytest.raises(HostError, match="has said nothing for") as caught:
        await watch(seen).replay([stopped])
    assert caught.value.failure.host == "h0" and "mlxring down" in caught.value.failure.remedy
    assert isinstance(seen[-1].event, AgentLost)


async def test_a_running_ring_may_be_silent_for_as_long_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.cluster.follow.WELCOME_SECONDS", 0.05)
    journal, stopped = Journal(0).add(1.0, log("one")), Journal(1)
    stopped.silent = True
    seen: list[Recorded] = []
    following = asyncio.create_task(watch(seen).follow([journal, stopped]))

    def given_up() -> int:
        return sum(isinstance(record.event, AgentLost) for record in seen)

    # Once when the journals are replayed, once when they are followed: the other has had its time by then.
    await settle(lambda: given_up() == 2)
    journal.add(2.0, log("two")).more.set()
    await settle(lambda: "two" in texts(seen))
    assert {record.host for record in seen if isinstance(record.event, AgentLost)} == {"h1"}
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_an_agent_of_another_version_is_told_as_that() -> None:
    class Newer(_Attached):
        async def lines(self) -> AsyncIterator[bytes]:
            async for said in super().lines():
                yield said
                yield b'{"type":"happened","record":{"host":"h0","seq":1,"time":1.0,"event":{"type":"new"}}}'

    class Later(Journal):
        @asynccontextmanager
        async def stream(self, argv: Sequence[str], *, timeout: float) -> AsyncIterator[_Attached]:
            yield Newer(self)

    with pytest.raises(HostError, match="does not understand") as caught:
        await watch([]).replay([Later(0).add(1.0, log("one"))])
    assert "another version of mlxring" in caught.value.failure.remedy


async def test_a_time_that_no_clock_shows_is_none() -> None:
    seen: list[Recorded] = []
    await watch(seen).replay([Journal(0, running=False).add(1e300, log("late")).add(-5.0, log("early"))])
    assert [record.time for record in seen if isinstance(record.event, LogLine)] == [0.0, 0.0]


async def test_when_events_can_be_handed_on_no_more_following_ends_with_the_reason() -> None:
    """The reader of ``logs --follow`` has gone; the other hosts have nothing to say and would go on."""
    seen: list[Recorded] = []
    speaking, quiet = Journal(0).add(1, log("one")), Journal(1)

    def take(record: Recorded) -> None:
        if seen:
            raise BrokenPipeError
        seen.append(record)

    following = asyncio.create_task(Watch("t", "h0", take).follow([speaking, quiet]))
    await settle(lambda: seen)
    speaking.add(2, log("two")).more.set()
    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(following, 5)

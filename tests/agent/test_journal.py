"""The journal: numbers without a gap through rotation, restarts and readers of any pace."""

import os
from pathlib import Path

import msgspec
import pytest

from ringcore.agent import journal as journal_module
from ringcore.agent.journal import KEPT_SEGMENTS, OLD_RUN, Journal, parts, read_header
from ringcore.agent.replay import Reader, last_seq
from ringcore.spec.control import Happened, agent_to_console
from ringcore.spec.deployment import JOURNAL_FILE, Deployment, Member
from ringcore.spec.events import LogLine, RankChanged, Recorded, RingChanged
from tests.ring.harness import make_plan


def deployment(run_id: str = "run1") -> Deployment:
    member = Member(rank=0, host="h0", address="127.0.0.1", link_port=1)
    return Deployment(
        ring="t", run_id=run_id, rank=0, plan=make_plan([4]), members=(member,), control_port=2,
        backend="ring", model_name="m", model_path="/m", api_bind="127.0.0.1", api_port=3,
    )  # fmt: skip


def log(text: str) -> LogLine:
    return LogLine(source="rank", level="INFO", text=text, rank=0)


def records(data: bytes) -> list[Recorded]:
    messages = [agent_to_console.decode(line) for line in data.splitlines()]
    assert all(isinstance(message, Happened) for message in messages)
    return [message.record for message in messages if isinstance(message, Happened)]


def everything(reader: Reader) -> list[Recorded]:
    found: list[Recorded] = []
    while data := reader.read():
        found += records(data)
    reader.close()
    return found


def numbers(found: list[Recorded]) -> list[int]:
    return [record.seq for record in found]


def test_events_are_numbered_from_one_and_read_back_as_they_were(tmp_path: Path) -> None:
    writer = Journal(tmp_path, deployment())
    for n in range(5):
        writer.append(log(f"line {n}"))
    writer.flush()
    found = everything(Reader(tmp_path))
    assert numbers(found) == [1, 2, 3, 4, 5]
    assert [record.event for record in found] == [log(f"line {n}") for n in range(5)]
    assert {record.host for record in found} == {"h0"}
    assert last_seq(tmp_path, "run1") == 5
    assert last_seq(tmp_path, "another") == 0


def test_a_reader_begins_after_what_it_has_seen(tmp_path: Path) -> None:
    writer = Journal(tmp_path, deployment())
    for n in range(10):
        writer.append(log(str(n)))
    writer.flush()
    assert numbers(everything(Reader(tmp_path, 7))) == [8, 9, 10]
    assert everything(Reader(tmp_path, 10)) == []


def test_a_reader_behind_the_writer_misses_nothing_and_sees_nothing_twice(tmp_path: Path) -> None:
    writer = Journal(tmp_path, deployment(), segment_bytes=2000)
    reader = Reader(tmp_path)
    seen: list[int] = []
    for n in range(300):
        writer.append(log(f"{n} {'x' * 50}"))
        if n % 7 == 0:
            writer.flush()
        if n % 11 == 0:
            seen += numbers(records(reader.read()))
    writer.flush()
    seen += numbers(everything(reader))
    assert seen == list(range(1, writer.seq + 1))


def test_half_a_line_is_not_handed_out_before_its_other_half(tmp_path: Path) -> None:
    writer = Journal(tmp_path, deployment())
    writer.append(log("whole"))
    writer.flush()
    path = tmp_path / JOURNAL_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    reader = Reader(tmp_path)
    assert reader.read() == b""
    with path.open("ab") as file:
        file.write(whole[-10:])
    assert numbers(everything(reader)) == [1]


def test_old_parts_go_and_the_reader_is_told_how_many_events_went(tmp_path: Path) -> None:
    writer = Journal(tmp_path, deployment(), segment_bytes=1000)
    for n in range(400):
        writer.append(log(f"{n} {'x' * 40}"))
        writer.flush()
    assert len(parts(tmp_path)) == KEPT_SEGMENTS + 1
    found = everything(Reader(tmp_path))
    assert found[0].event.text.startswith(f"{found[0].seq} older events were dropped")  # type: ignore[union-attr]
    assert numbers(found) == list(range(found[0].seq, writer.seq + 1))


def test_a_new_part_repeats_what_a_replay_must_know(tmp_path: Path) -> None:
    writer = Journal(tmp_path, deployment(), segment_bytes=1000)
    plan = make_plan([4])
    writer.append(RingChanged(phase="waiting", epoch=1, plan=plan))
    writer.append(RankChanged(rank=0, phase="ready"))
    writer.append(RingChanged(phase="serving", epoch=1, api_url="http://x"))
    for n in range(400):
        writer.append(log(f"{n} {'x' * 40}"))
        writer.flush()
    events = [record.event for record in everything(Reader(tmp_path))]
    ring = next(event for event in events if isinstance(event, RingChanged))
    assert ring == RingChanged(phase="serving", epoch=1, api_url="http://x", plan=plan)
    assert RankChanged(rank=0, phase="ready") in events


def test_the_same_run_goes_on_with_its_numbers_and_drops_a_torn_line(tmp_path: Path) -> None:
    first = Journal(tmp_path, deployment())
    for n in range(3):
        first.append(log(str(n)))
    first.close()
    with (tmp_path / JOURNAL_FILE).open("ab") as file:
        file.write(b'{"host":"h0","seq":4,"ti')
    second = Journal(tmp_path, deployment())
    second.append(log("after"))
    second.close()
    assert numbers(everything(Reader(tmp_path))) == [1, 2, 3, 4]


def test_another_run_begins_at_one_and_puts_the_old_journal_aside(tmp_path: Path) -> None:
    first = Journal(tmp_path, deployment("run1"), segment_bytes=500)
    for n in range(50):
        first.append(log(str(n)))
        first.flush()
    first.close()
    second = Journal(tmp_path, deployment("run2"))
    second.append(log("new"))
    second.close()
    assert [record.event for record in everything(Reader(tmp_path))] == [log("new")]
    header = read_header(tmp_path / OLD_RUN)
    assert header is not None and header.run_id == "run1"


def test_a_full_disk_delays_events_and_counts_the_log_lines_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Journal(tmp_path, deployment())
    monkeypatch.setattr(journal_module, "UNWRITTEN_BYTES", 2000)
    full = True
    write = os.write

    def disk(descriptor: int, data: bytes) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", disk)
    for n in range(100):
        writer.append(log(f"{n} {'x' * 50}"))
        writer.flush()
    writer.append(RankChanged(rank=0, phase="failed"))
    assert writer.unwritten and writer.lost_lines > 0
    lost, full = writer.lost_lines, False
    writer.flush()
    writer.flush()
    found = everything(Reader(tmp_path))
    assert numbers(found) == list(range(1, writer.seq + 1))
    assert any(record.event == RankChanged(rank=0, phase="failed") for record in found)
    assert f"{lost} lines are lost" in found[-1].event.text  # type: ignore[union-attr]


def test_the_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    Journal(tmp_path, deployment()).close()
    assert (tmp_path / JOURNAL_FILE).stat().st_mode & 0o777 == 0o600
    assert msgspec.json.decode((tmp_path / JOURNAL_FILE).read_bytes().splitlines()[0])["first"] == 1

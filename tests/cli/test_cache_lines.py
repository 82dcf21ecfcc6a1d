"""What `mlxring cache` shows of files on hosts, and of a transfer that goes on."""

import io
import sys

import pytest

from console.cluster.prefixes import Kept, There
from console.commands.cache_lines import Advancing, file_table, in_files
from ringcore.spec.block_file import BlockFile

NOW = 1_000_000.0
ROOT = "0" * 32
KEPT = Kept(
    (
        BlockFile("a" * 32, 0, 3, 1 << 20),
        BlockFile("a" * 32, 3, 5, 1 << 20),
        BlockFile("b" * 32, 0, 3, 1 << 20),
    ),
    (NOW - 3 * 86_400, NOW - 7200, NOW - 30),
)


def test_a_row_for_each_host_with_the_ages_of_what_it_has() -> None:
    table = file_table({"mini1": There(0, {ROOT: KEPT}), "mini2": There(0, {})}, NOW)
    assert [line.split() for line in table[1:]] == [
        ["mini1", "2", "3.0", "MiB", "30", "s", "3", "d"],
        ["mini2", "0", "0", "B", "-", "-"],
    ]


def test_hosts_without_files_are_told_in_a_sentence() -> None:
    assert file_table({"mini1": There(0, {ROOT: Kept()})}, NOW) == ["nothing is kept in files on its hosts"]


def test_what_of_another_root_lies_there_is_not_counted() -> None:
    there = There(0, {ROOT: Kept(), "1" * 32: KEPT})
    assert (in_files(there).root, in_files(there).blocks, in_files(there).oldest) == (ROOT, 0, None)


def test_a_transfer_is_shown_on_one_line_and_only_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with Advancing("sent") as advance:
        advance(1 << 20, 4 << 20)
    assert screen.getvalue() == ""
    monkeypatch.setattr(screen, "isatty", lambda: True)
    with Advancing("sent") as advance:
        advance(1 << 20, 4 << 20)
        advance(2 << 20, 4 << 20)
    shown = screen.getvalue()
    assert "sent 1.0 MiB of 4.0 MiB, 25 %" in shown and "\n" not in shown and "50 %" not in shown
    assert shown.endswith(f"\r{'':<60}\r")

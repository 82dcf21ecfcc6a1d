"""Long lines on a narrow terminal: broken between words there, whole for whoever reads a pipe."""

import pytest

from console.commands import models
from console.commands.folding import cells, folded, width
from console.commands.plan import table
from ringcore.planning.architectures import table as architectures
from ringcore.planning.plan import make_plan
from ringcore.spec.units import GIB
from tests.planning.worlds import facts, hosts, model, profile

LINE = "  rejected: equal numbers of layers (h0 6, h1 6): no better: h0 would take 5.2 ms for a step as well."


def test_lines_break_between_words_and_hang_under_their_beginning() -> None:
    lines = list(folded([LINE], 60))
    assert all(len(line) <= 60 for line in lines) and len(lines) == 2
    assert lines[1].startswith("    ") and " ".join(line.strip() for line in lines) == LINE.strip()
    assert list(folded([LINE], 0)) == list(folded([LINE], 200)) == [LINE]


def test_what_has_no_room_at_all_is_still_told() -> None:
    path = "/a" * 50
    assert list(folded([f"see {path}"], 10)) == ["see", f"  {path}"]
    assert list(folded(["x"], 1)) == ["x"]


def test_a_map_is_cut_anywhere_and_keeps_its_column() -> None:
    assert list(cells("layers  ", "0" * 30, 20)) == [
        "layers  " + "0" * 12,
        " " * 8 + "0" * 12,
        " " * 8 + "0" * 6,
    ]
    assert list(cells("layers  ", "01", 0)) == ["layers  01"]


@pytest.mark.parametrize("columns", [60, 80])
def test_only_the_rows_of_a_plan_are_wider_than_the_terminal(columns: int) -> None:
    plan = make_plan(model(90), profile(hosts(3)), facts(*[8 * GIB] * 3), {})
    wide = [line for line in table(plan, columns).splitlines() if len(line) > columns]
    assert all(line.startswith("rank  host") or line[:4].strip().isdigit() for line in wide)
    assert table(plan).splitlines()[-1] == plan.explanation[-1]


def test_the_reasons_of_models_stand_in_a_column_of_their_own() -> None:
    rows = [row for row in architectures() if len(row.reason) > 60]
    lines = models.text(rows, 80).splitlines()
    column = lines[0].index(rows[0].reason[:10])
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith(" " * column) and line[column] != " " for line in lines)


def test_a_pipe_gets_whole_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert width() == 0
    assert models.text(architectures(), width()) == models.text(architectures())

"""The planner's benchmark: its own brute force, and the page it writes."""

import pytest

from benchmarks.planner import page, splits
from benchmarks.planner_optimum import rates
from tests.planning.worlds import model


def test_every_search_finds_the_optimum_that_trying_everything_finds() -> None:
    for found in rates(60, seed=4).values():
        assert found["clusters"] == found["optimal"] == 60
        assert 0 < found["fit"] < 60, "clusters that never or always fit compare little"


@pytest.mark.parametrize("size", [500, 2000])
def test_a_split_over_a_ceiling_is_on_the_page_with_host_and_bytes(size: int) -> None:
    rows = splits(model([size << 20] * 40), 4096)
    assert all(row["alone"] for row in rows if row["split"].startswith("mlxring"))
    even = next(row for row in rows if row["split"].startswith("equal"))
    text = page(
        {
            "models": [{"model": "m", "context": 4096, "weights": "w", "splits": rows}],
            "times": [],
            "optimum": {},
        }
    )
    if size == 500:
        assert even["alone"] and "over its memory" in text and "GiB |" not in text
    else:
        assert even["alone"] is None and "mini1 by" in text and "does not run" in text

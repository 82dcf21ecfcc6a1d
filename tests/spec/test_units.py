"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringcore.spec.units import GIB, KIB, MIB, TIB, exact_bytes, format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12 GiB", 12 * GIB),
        ("12gib", 12 * GIB),
        (" 1.5 MiB ", 1_572_864),
        ("800 MB", 800_000_000),
        ("2TB", 2_000_000_000_000),
        ("1 TiB", TIB),
        ("3 KiB", 3 * KIB),
        ("64 kB", 64_000),
        ("17 B", 17),
        ("17", 17),
        ("0 GiB", 0),
    ],
)
def test_a_number_and_a_unit_are_a_size(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "12 GiBs", "-1 GiB", "1,5 GiB", "1e3 MB", "12 Gi B", "٣ GiB"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as '12 GiB'"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1.0 KiB"),
        (9.1 * GIB, "9.1 GiB"),
        (640 * MIB, "640 MiB"),
        (1.5 * TIB, "1.5 TiB"),
        (-2 * GIB, "-2.0 GiB"),
    ],
)
def test_sizes_are_shown_in_binary_units(size: float, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, 1 << 50))
def test_an_exact_size_reads_back_to_the_byte(size: int) -> None:
    assert parse_bytes(exact_bytes(size)) == size


def test_an_exact_size_is_as_short_as_it_can_be() -> None:
    assert exact_bytes(12 * GIB) == "12 GiB"
    assert exact_bytes(GIB + MIB) == "1025 MiB"
    assert exact_bytes(1001) == "1001 B"

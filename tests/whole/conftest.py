"""The demo model and an operator with a profile of two local hosts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.whole.harness import Operator


@pytest.fixture
def operator_with(tmp_path: Path, demo_model_path: Path) -> Iterator[Callable[..., Operator]]:
    """Makes operators; whatever their rings left is ended after the test."""
    made: list[Operator] = []

    def make(**changes: Any) -> Operator:
        operator = Operator(**({"folder": tmp_path, "model": demo_model_path} | changes))
        made.append(operator)
        return operator

    yield make
    for operator in made:
        operator.clear()


@pytest.fixture
def operator(operator_with: Callable[..., Operator]) -> Operator:
    return operator_with()

"""What several folders of tests share: the real demo model, made once into the user's cache.

What a ring is compared with is computed in the tests' own process: on the BLAS of the ranks, with as
many threads as theirs, because sums in float32 depend on how they are cut.
"""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import settings

from console.demo.cache import user_cache
from console.demo.model import demo_model
from ringcore.rank.blas import prefer_openblas

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
prefer_openblas()
# No example has a time limit: a busy machine is no defect. In CI the examples are the same each time.
settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("here")


# Folders whose tests want both cores, the place of the demo or network namespaces: all in one process, one
# after the other. Those whose servers are started once a module stay together by module.
_ONE_AT_A_TIME = {"bench", "demo", "hosts", "rank_memory", "ring", "whole"}
_BY_MODULE = {"agent", "gateway"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here)
        if path.parts[0] in _ONE_AT_A_TIME:
            item.add_marker(pytest.mark.xdist_group("machine"))
        elif path.parts[0] in _BY_MODULE:
            item.add_marker(pytest.mark.xdist_group(str(path)))


@pytest.fixture(scope="session")
def demo_model_path() -> Path:
    """SmolLM2-135M-Instruct, 4-bit, as a folder that mlx-lm loads (downloaded on first use)."""
    return asyncio.run(demo_model(user_cache(), lambda _fraction, _text: None))

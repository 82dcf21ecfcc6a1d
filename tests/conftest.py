"""What several folders of tests share: the real demo model, made once into the user's cache."""

import asyncio
from pathlib import Path

import pytest

from console.demo.cache import user_cache
from console.demo.model import demo_model


@pytest.fixture(scope="session")
def demo_model_path() -> Path:
    """SmolLM2-135M-Instruct, 4-bit, as a folder that mlx-lm loads (downloaded on first use)."""
    return asyncio.run(demo_model(user_cache(), lambda _fraction, _text: None))

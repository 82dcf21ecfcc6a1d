"""Of every verified architecture: whether mlx-lm's code leaves logits as the embedding makes them."""

import importlib
from typing import Any

import mlx.core as mx
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from ringcore.models import registry
from ringcore.planning.architectures import VERIFIED, check
from ringcore.planning.config import text_part
from ringcore.planning.head import SHARES
from ringcore.planning.tied import has_tied_head
from ringcore.spec.errors import PlanError
from tests.models.configs import ALL
from tests.models.configs.common import HIDDEN, TIED

_TIED = {**TIED, "share_input_output_layers": True}


def tied_config(architecture: str) -> dict[str, Any] | None:
    """With the embedding as head; None where no model has that."""
    config: dict[str, Any] = {"model_type": architecture, **ALL[architecture], **_TIED}
    if "text_config" in config:
        config["text_config"] = {**config["text_config"], **_TIED}
    try:
        check(config)
    except PlanError:
        return None
    return config if has_tied_head(architecture, text_part(config), has_head=False) else None


def test_only_verified_architectures_are_listed() -> None:
    assert set(SHARES) <= set(VERIFIED)
    assert len(set(SHARES)) == len(SHARES)


@pytest.mark.parametrize("architecture", VERIFIED)
def test_logits_are_the_product_with_the_embedding_where_the_head_is_shared(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tied_config(architecture)
    if config is None:
        assert architecture not in SHARES
        return
    module = importlib.import_module(f"mlx_lm.models.{architecture}")
    made = module.Model(module.ModelArgs.from_dict(config))
    weights = dict(tree_flatten(made.parameters()))
    headless = {name: array for name, array in weights.items() if "lm_head" not in name}
    if has_tied_head(architecture, text_part(config), has_head=True):
        assert architecture not in SHARES or headless.keys() == weights.keys(), (
            "the tied model has a head of its own"
        )
    else:
        made.sanitize(headless)  # tied by what the files hold
    products: list[mx.array] = []
    multiply = nn.Embedding.as_linear

    def recorded(self: nn.Embedding, x: mx.array) -> mx.array:
        products.append(multiply(self, x))
        return products[-1]

    monkeypatch.setattr(nn.Embedding, "as_linear", recorded)
    logits = made(mx.zeros((1, 3), dtype=mx.int32))
    untouched = len(products) == 1 and logits is products[0]
    alone = registry.find(config)[1].carry.width(HIDDEN) == HIDDEN
    assert (untouched and alone) == (architecture in SHARES)

"""Which architectures can be cut into stages, and in what each departs from the generic way.

An entry costs nothing until it is used: the architecture's own module is imported by `find` only.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mlx_lm.utils import MODEL_REMAPPING

from ringcore.models import masks
from ringcore.models.masks import MaskRule
from ringcore.spec.errors import PlanError


@dataclass(frozen=True)
class Adapter:
    """``sanitize_from_zero``: mlx-lm's ``sanitize`` looks at layer 0 to decide for all, so the stage's
    layers are shown to it numbered from 0."""

    masks: MaskRule = masks.causal
    sanitize_from_zero: bool = False


# Names of the modules in `mlx_lm.models`; mlx-lm maps further `model_type`s onto them.
SUPPORTED: Mapping[str, Adapter] = {
    "deepseek_v2": Adapter(),
    "deepseek_v3": Adapter(masks=masks.causal_array),
    "llama": Adapter(masks=masks.full_and_sliding),
    "mixtral": Adapter(sanitize_from_zero=True),
    "qwen2": Adapter(),
    "qwen2_moe": Adapter(sanitize_from_zero=True),
    "qwen3": Adapter(),
    "qwen3_moe": Adapter(),
}


def find(config: Mapping[str, Any]) -> tuple[ModuleType, Adapter]:
    """mlx-lm's module for ``config`` (with ``Model`` and ``ModelArgs``) and how to cut it.

    Raises `PlanError` when the architecture is not in `SUPPORTED`, or the model brings its own code.
    """
    if config.get("model_file"):
        raise PlanError(
            f"the model brings its own code ({config['model_file']}), which is not run",
            "take a conversion of this model that uses an architecture of mlx-lm",
        )
    model_type = str(config.get("model_type", ""))
    name = MODEL_REMAPPING.get(model_type, model_type)
    if name not in SUPPORTED:
        raise PlanError(
            f"the architecture {model_type!r} cannot be cut into stages",
            f"take a model of one of these: {', '.join(sorted(SUPPORTED))}",
        )
    return importlib.import_module(f"mlx_lm.models.{name}"), SUPPORTED[name]

"""Gives the modules of a stage the quantised form its checkpoint has; decides as ``mlx_lm.utils.load_model``.

Knows the config and the names and shapes of the tensors; never quantises a weight itself.
"""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.utils import infer_quant_config

from ringcore.spec.errors import PlanError


def quantize_like(model: nn.Module, config: Mapping[str, Any], weights: dict[str, mx.array]) -> None:
    """Replace modules of ``model`` in place, before its weights are set.

    A module the config names gets what the config says (a dict, or False for none); any other is
    quantised when the checkpoint holds scales for it, with the parameters its shapes tell. Raises
    `PlanError` for checkpoints that are quantised in another library's format.
    """
    settings: dict[str, Any] | None = config.get("quantization")
    if settings is None:
        foreign = config.get("quantization_config")
        if foreign:
            method = foreign.get("quant_method", "unknown") if isinstance(foreign, dict) else foreign
            raise PlanError(
                f"the weights are quantised in the format {method!r}, which is not MLX's",
                "convert the model with `mlx_lm.convert`, or take an MLX conversion of it",
            )
        return

    def predicate(path: str, module: nn.Module) -> bool | dict[str, Any]:
        if not module.parameters():  # another stage's, though the config may name it
            return False
        if path in settings:
            return settings[path]
        if not hasattr(module, "to_quantized") or f"{path}.scales" not in weights:
            return False
        return infer_quant_config(path, module, weights)

    try:
        nn.quantize(
            model,
            group_size=settings["group_size"],
            bits=settings["bits"],
            mode=settings.get("mode", "affine"),
            class_predicate=predicate,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"the 'quantization' of config.json does not fit the weights: {error!r}",
            "fetch the model again, or convert it with `mlx_lm.convert`",
        ) from error

"""Which module of mlx-lm reads a model, and in what its way through the stages departs from the generic one.

An entry costs nothing until it is used: the architecture's own module is imported by `find` only. Which
architectures are verified is said in `ringcore.planning.architectures`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ringcore.models import carries
from ringcore.models.caches import FIRST
from ringcore.models.passage import PLAIN, Carry
from ringcore.planning import architectures
from ringcore.spec.errors import PlanError


def _always(_layer: Any) -> bool:
    return True


@dataclass(frozen=True)
class Adapter:
    """In what an architecture departs from the generic way.

    ``sanitize_from_zero``: mlx-lm's ``sanitize`` looks at layer 0 to decide for all, so the stage's
    layers are shown to it numbered from 0. ``has_cache``: which layers have one, in the order of the
    model's caches. ``first_caches``: how many come before those and belong to what is before the layers.
    ``tied_by_file``: the head is tied when the checkpoint has none, whatever the config says.
    ``sanitize_reads``: tensors that ``sanitize`` reads in every case; empty ones are shown to it in
    stages that do not hold them. ``needs_position``: layers that keep a state ask another layer's cache
    for the position. ``merges``: sequences at different positions may be decoded in one call.
    """

    carry: Carry = PLAIN
    sanitize_from_zero: bool = False
    has_cache: Callable[[Any], bool] = _always
    first_caches: int = 0
    tied_by_file: bool = False
    sanitize_reads: tuple[str, ...] = ()
    needs_position: bool = False
    merges: bool = True

    def owners(self, layers: Sequence[Any]) -> list[int]:
        """The number of the layer that owns each cache of the model, or `FIRST`."""
        return [FIRST] * self.first_caches + [n for n, layer in enumerate(layers) if self.has_cache(layer)]


# Names of the modules in `mlx_lm.models`; what is not here goes the generic way.
_FROM_ZERO = Adapter(sanitize_from_zero=True)
_GEMMA4 = Adapter(carry=carries.ALONE_OF_THREE)
_TIED_BY_FILE = Adapter(tied_by_file=True)
_ONE_BY_ONE = Adapter(needs_position=True, merges=False)
ADAPTERS: Mapping[str, Adapter] = {
    "bailing_hybrid": _ONE_BY_ONE,
    "bailing_moe_linear": _ONE_BY_ONE,
    "falcon_h1": _FROM_ZERO,
    "gemma2": Adapter(merges=False),
    "gemma3": _TIED_BY_FILE,
    "gemma3_text": _TIED_BY_FILE,
    "gemma4": _GEMMA4,
    "gemma4_text": _GEMMA4,
    "gpt_bigcode": Adapter(merges=False),
    "granitemoe": _FROM_ZERO,
    "granitemoehybrid": _FROM_ZERO,
    "hunyuan": Adapter(carry=carries.ALONE_OF_TWO, sanitize_from_zero=True),
    "internlm3": Adapter(merges=False),
    "longcat_flash_ngram": Adapter(first_caches=1),
    "mellum": _FROM_ZERO,
    "minicpm": Adapter(sanitize_reads=("model.embed_tokens.weight",)),
    "minimax": _FROM_ZERO,
    "minimax_m3_vl": Adapter(merges=False),
    "mixtral": _FROM_ZERO,
    "nemotron-nas": Adapter(has_cache=lambda layer: layer.self_attn is not None),
    "nemotron_h": Adapter(has_cache=lambda layer: layer.block_type in "M*"),
    "olmoe": _FROM_ZERO,
    "phi3small": Adapter(merges=False),
    "phimoe": _FROM_ZERO,
    "qwen2_moe": _FROM_ZERO,
    "qwen3_vl_moe": Adapter(sanitize_reads=("lm_head.weight", "language_model.lm_head.weight")),
    "recurrent_gemma": _TIED_BY_FILE,
    "rwkv7": Adapter(carry=carries.WITH_FIRST_VALUES),
}
_GENERIC = Adapter()


def find(config: Mapping[str, Any], *, allow_unverified: bool = False) -> tuple[ModuleType, Adapter]:
    """mlx-lm's module for ``config`` (with ``Model`` and ``ModelArgs``) and how to cut it.

    Raises `PlanError` when the model brings its own code, or its architecture is refused, or is not
    verified and ``allow_unverified`` is False.
    """
    if config.get("model_file"):
        raise PlanError(
            f"the model brings its own code ({config['model_file']}), which is not run",
            "take a conversion of this model that uses an architecture of mlx-lm",
        )
    name = architectures.check(config, allow_unverified=allow_unverified)
    try:
        module = importlib.import_module(f"mlx_lm.models.{name}")
    except ImportError as error:
        raise PlanError(
            f"mlx-lm on this host cannot read the architecture {name!r}: {error}",
            "take a model of another architecture, or a newer mlx-lm on every host",
        ) from error
    return module, ADAPTERS.get(name, _GENERIC)

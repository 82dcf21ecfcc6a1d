"""Small models whose heads can be kept in few bits, and what mlx-lm answers alone with such caches."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import CacheList, KVCache, QuantizedKVCache, make_prompt_cache

from tests.models import running
from tests.models.configs import ALL
from tests.models.running import ANSWER
from tests.models.small import build

_DOUBLED = {
    "hidden_size", "n_embd", "d_model", "model_dim", "block_dim", "kv_channels", "hidden_size_per_head"
}  # fmt: skip
_HEADS = {"head_dim", "v_head_dim", "swa_v_head_dim", "qk_rope_head_dim"}
_PER_PAIR = {"long_factor", "short_factor"}
# By bits: how far the likeliest token is above the second, of how far it is above the mean.
_FIRM = {8: 0.005, 4: 0.04}


def wide(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with twice the width where heads are of 16 numbers."""
    made: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            made[key] = wide(value)
        elif key in _DOUBLED or key in _PER_PAIR or (key in _HEADS and value == 16):
            made[key] = 2 * value
        else:
            made[key] = value
    return made


def build_wide(name: str, folder: Path, **changes: Any) -> Path:
    """As `build`, with heads of 32 numbers or a multiple."""
    return build(name, folder, **wide(ALL[name]) | changes)


def caches_in_bits(model: nn.Module, bits: int) -> list[Any]:
    """mlx-lm's caches of the whole model, each `KVCache` a `QuantizedKVCache`; in groups that real keys and
    values allow, which are seen in a pass of one token."""
    tried = make_prompt_cache(model)
    mx.eval(model(mx.array([[1]]), cache=tried))
    return [_in_bits(*each, bits) for each in zip(make_prompt_cache(model), tried, strict=True)]


def quantized(cache: Sequence[Any]) -> list[QuantizedKVCache]:
    leaves = [leaf for entry in cache for leaf in getattr(entry, "caches", (entry,))]
    return [leaf for leaf in leaves if type(leaf) is QuantizedKVCache]


def greedy_whole(folder: Path, bits: int, count: int = ANSWER) -> list[int]:
    """As `running.greedy_whole`, with such caches."""
    return running.greedy_whole(folder, count, lambda model: caches_in_bits(model, bits))


def firm_answer(model: nn.Module, bits: int, prompt: Sequence[int], count: int) -> list[int] | None:
    """mlx-lm's own answer with such caches from the first token on; None where two tokens are nearly as
    likely. In chunks of other lengths sums differ in their last bits: a number that lies between two steps
    is then rounded the other way, and with it goes a token that was hardly the likelier one."""
    answer: list[int] = []
    steps = generate_step(mx.array(prompt), model, max_tokens=count, prompt_cache=caches_in_bits(model, bits))
    for token, logprobs in steps:
        second, first = mx.sort(logprobs)[-2:].tolist()
        if first - second < _FIRM[bits] * (first - mx.mean(logprobs).item()):
            return None
        answer.append(int(token))
    return answer


def _in_bits(fresh: Any, tried: Any, bits: int) -> Any:
    if type(fresh) is CacheList:
        pairs = zip(fresh.caches, tried.caches, strict=True)
        return CacheList(*(_in_bits(*pair, bits) for pair in pairs))
    if type(fresh) is not KVCache or tried.empty():
        return fresh
    common = math.gcd(tried.keys.shape[-1], tried.values.shape[-1])
    return QuantizedKVCache(group_size=64 if common % 64 == 0 else 32, bits=bits)

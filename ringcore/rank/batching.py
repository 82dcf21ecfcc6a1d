"""How many sequences decode in one step: as many as there are, where a batch is cheaper than its rows."""

import json
from pathlib import Path

from ringcore.rank.device import on_gpu
from ringcore.rank.header import max_rows
from ringcore.spec.plan import Plan


def rows_per_step(model_path: Path, plan: Plan) -> int:
    """MLX multiplies quantised weights on a CPU row by row: there a batch gains nothing, and single rows keep
    more stages at work. The same where caches are kept in few bits: mlx-lm cannot join those."""
    if plan.kv_bits:
        return 1
    if not on_gpu() and _quantized(model_path):
        return 1
    return max_rows(plan.sequences)


def _quantized(model_path: Path) -> bool:
    try:
        config = json.loads((model_path / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "quantization" in config

"""Loads one stage: the tensors of its layers, and no other, from a folder of safetensors into memory.

Knows how a checkpoint becomes modules; which layers, in which dtype, and if they fit is decided elsewhere.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache

from ringcore.models import folder, registry, structure
from ringcore.models.caches import Caches
from ringcore.models.cut import CutStage
from ringcore.models.folder import Tensors
from ringcore.models.head import Head, tied_to
from ringcore.models.kv_bits import in_bits
from ringcore.models.names import Names
from ringcore.models.passage import Passage
from ringcore.models.quantize import quantize_like
from ringcore.models.registry import Adapter
from ringcore.models.stage import ModelStage
from ringcore.planning import architectures, kv
from ringcore.spec.errors import PlanError
from ringcore.spec.shard import Shard
from ringcore.spec.units import format_bytes

Progress = Callable[[float, str], None]
_ALLOCATOR_BYTES = 4 << 20  # whole pages for small arrays
_FETCH = "fetch the model again; the download may be incomplete"
_DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}


def load_stage(
    model_path: Path,
    shard: Shard,
    *,
    dtype: str,
    on_progress: Progress,
    allow_unverified: bool = False,
    kv_bits: int = 0,
    head_rows: int = 0,
) -> ModelStage:
    """Layers ``shard`` of the model in ``model_path``, in memory when this returns.

    ``dtype``: ``float32``, ``float16`` or ``bfloat16`` casts every floating tensor (scales and biases of
    quantised ones too, packed weights never); ``auto`` keeps what the files hold. ``on_progress`` gets
    the share of bytes that is in memory, 0..1, and a short text. ``kv_bits``: of keys and values in the
    caches of layers that keep all tokens; 0: as they are computed. ``head_rows``: of a tied head, from 0 on,
    are the first stage's and the others the last one's; 0: all are the last one's.
    Raises `PlanError` when the folder, its config or a tensor is missing, unreadable or unexpected, or
    the architecture cannot be cut, or nobody verified it and ``allow_unverified`` is False, or its caches
    cannot be kept in ``kv_bits``.
    """
    if dtype not in ("auto", *_DTYPES):
        raise PlanError(f"no rank computes in {dtype!r}", f"write auto, {', '.join(_DTYPES)} in the profile")
    config = folder.read_config(model_path)
    module, adapter = registry.find(config, allow_unverified=allow_unverified)
    model = _build(module, config, model_path)
    parts = structure.find(model)
    if parts.total != shard.total:
        raise PlanError(
            f"the plan counts {shard.total} layers, {model_path} has {parts.total}",
            "plan again: the model in this folder is not the one the plan was made for",
        )
    layers: list[nn.Module] = structure.module_at(model, parts.layers)
    whole: list[Any] = make_prompt_cache(model)
    owners = adapter.owners(layers)
    if kv_bits:
        name = architectures.module_of(config)
        whole = in_bits(whole, owners, kv.caches(name, config), name, kv_bits)
    caches = Caches(whole, owners, shard, needs_position=adapter.needs_position)
    source = folder.pick(model_path, Names(parts, shard, adapter.tied_by_file).wanted)
    weights = _sanitize(model, Names(parts, shard, adapter.tied_by_file), source, adapter)
    parts = structure.find(model)  # once more: `sanitize` may have taken the head away
    weights = {name: array for name, array in weights.items() if Names(parts, shard).wanted(name)}
    structure.prune(model, parts, shard)
    quantize_like(model, config, weights)
    weights = _cast(model, weights, dtype)
    _check(model, weights, source)
    model.load_weights(list(weights.items()), strict=False)
    model.eval()
    hidden_dtype = _DTYPES.get(dtype) or _commonest_dtype(weights)
    # Only modules may hold arrays from here on: what a cast or a stack was made from is freed once read.
    del weights
    source.arrays.clear()

    wanted = parts.wanted(shard)
    groups = {path: structure.module_at(model, path) for path in wanted}
    groups |= {f"{parts.layers}.{number}": layers[number] for number in range(shard.start, shard.end)}
    before = [structure.module_at(model, path) for path in parts.first if path not in wanted]
    passage = Passage(shard, adapter.carry, layers, before, parts.hidden_size, hidden_dtype)
    head = None
    if head_rows and shard.count < shard.total and (shard.is_first or shard.is_last):
        if adapter.carry.width(parts.hidden_size) != parts.hidden_size:
            raise PlanError(
                f"stages of {type(model).__module__} hand on more than hidden states: none shares its head",
                'plan again, or write head = "last" under [ring]',
            )
        if head_rows >= parts.vocab_size:
            raise PlanError(
                f"the plan gives the first stage {head_rows} rows of the head, {model_path} has "
                f"{parts.vocab_size} in all",
                "plan again: the model in this folder is not the one the plan was made for",
            )
        embedding = tied_to(model, parts)
        rows = range(head_rows) if shard.is_first else range(head_rows, parts.vocab_size)
        head = Head(embedding, rows, hidden_dtype)
        if shard.is_last:
            passage.without_head(embedding)
    stage = CutStage(
        shard=shard,
        hidden_size=adapter.carry.width(parts.hidden_size),
        vocab_size=parts.vocab_size,
        dtype=hidden_dtype,
        model=model,
        layers=layers[shard.start : shard.end],
        embedding=[structure.module_at(model, path) for path in parts.first] if shard.is_first else [],
        passage=passage,
        caches=caches,
        merges=adapter.merges,
        head=head,
    )
    _read(groups, source, stage.weight_bytes, on_progress)
    return stage


def check_resident(
    stage: ModelStage, expected_bytes: int, resident_bytes: int | None = None, tolerance: float = 0.05
) -> None:
    """Raises `PlanError` when the stage holds more or less than the plan counted with, by more than
    ``tolerance`` (a share of ``expected_bytes``). ``resident_bytes``: what MLX has allocated for it, in
    which something may be left of the way there."""
    held, allowed = stage.weight_bytes, tolerance * expected_bytes
    if resident_bytes is not None and resident_bytes - held > allowed + _ALLOCATOR_BYTES:
        held = resident_bytes
    if abs(held - expected_bytes) > allowed:
        raise PlanError(
            f"layers {stage.shard.start}..{stage.shard.end - 1} take {format_bytes(held)} ({held} bytes), "
            f"the plan counted {format_bytes(expected_bytes)} ({expected_bytes} bytes)",
            "plan again; every host must have the same model, and the plan's dtype must be the rank's",
        )


def _build(module: ModuleType, config: dict[str, Any], model_path: Path) -> nn.Module:
    # The arrays of a new model are lazy: nothing takes memory until it is evaluated, and nothing is.
    try:
        return module.Model(module.ModelArgs.from_dict(config))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise PlanError(
            f"{model_path / 'config.json'} does not describe a {config['model_type']} model: {error!r}",
            "fetch the model again, or compare its config.json with the original",
        ) from error


def _sanitize(model: Any, names: Names, source: Tensors, adapter: Adapter) -> dict[str, mx.array]:
    empty = {name: mx.zeros((0,)) for name in adapter.sanitize_reads if not names.wanted(name)}
    weights = empty | source.arrays
    from_zero = adapter.sanitize_from_zero
    if not hasattr(model, "sanitize"):
        return weights
    try:
        weights: dict[str, mx.array] = model.sanitize(names.from_zero(weights) if from_zero else weights)
    except KeyError as error:
        missing = names.from_start({str(error.args[0]): None}) if from_zero else {str(error.args[0]): None}
        raise PlanError(f"tensor {next(iter(missing))} is not in {source.places}", _FETCH) from error
    except ValueError as error:
        raise PlanError(f"the tensors in {source.places} do not fit together: {error}", _FETCH) from error
    return names.from_start(weights) if from_zero else weights


def _cast(model: nn.Module, weights: Mapping[str, mx.array], dtype: str) -> dict[str, mx.array]:
    if dtype == "auto":
        return dict(weights)
    wanted = _DTYPES[dtype]
    may_cast: Callable[[str], bool] = getattr(model, "cast_predicate", lambda _: True)
    return {
        name: array.astype(wanted) if mx.issubdtype(array.dtype, mx.floating) and may_cast(name) else array
        for name, array in weights.items()
    }


def _check(model: nn.Module, weights: Mapping[str, mx.array], source: Tensors) -> None:
    expected: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    for name in sorted(expected.keys() - weights.keys()):
        raise PlanError(f"tensor {name} is not in {source.places}", _FETCH)
    for name in sorted(weights.keys() - expected.keys()):
        where = source.files.get(name, source.places)
        raise PlanError(
            f"tensor {name} in {where} has no place in the model",
            "the weights do not belong to this config.json; fetch the model again",
        )
    for name, array in weights.items():
        if array.shape != expected[name].shape:
            raise PlanError(
                f"tensor {name} in {source.files.get(name, source.places)} has shape {array.shape}, "
                f"the model needs {expected[name].shape}",
                "the weights do not belong to this config.json; fetch the model again",
            )


def _read(groups: Mapping[str, Any], source: Tensors, total: int, on_progress: Progress) -> None:
    done = 0
    for count, (path, part) in enumerate(groups.items(), 1):
        on_progress(min(1.0, done / total), f"{path} ({count} of {len(groups)})")
        arrays = structure.arrays_of(part)
        try:
            mx.eval(arrays)
        except RuntimeError as error:
            files = sorted({str(file) for name, file in source.files.items() if name.startswith(f"{path}.")})
            raise PlanError(f"{path} cannot be read from {', '.join(files)}: {error}", _FETCH) from error
        done += sum(array.nbytes for array in arrays)
    mx.clear_cache()
    on_progress(1.0, f"{format_bytes(done)} in memory")


def _commonest_dtype(weights: Mapping[str, mx.array]) -> mx.Dtype:
    floating = (array for array in weights.values() if mx.issubdtype(array.dtype, mx.floating))
    elements: Counter[mx.Dtype] = Counter()
    for array in floating:
        elements[array.dtype] += array.size
    return elements.most_common(1)[0][0]

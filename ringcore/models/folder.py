"""A model's folder: its config, which file holds which tensor, and lazy arrays of those a stage needs.

Opens only files that hold such a tensor. Knows names, not models: the caller says which names it wants.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm.utils import load_config

from ringcore.spec.errors import PlanError

INDEX = "model.safetensors.index.json"
_WEIGHTS = "model*.safetensors"
_FETCH = "fetch the model again; the download may be incomplete"


@dataclass
class Tensors:
    """Lazy arrays by name, and the file each came from. ``places``, for messages about a tensor that is
    not there: the index, or else the files, that should name it."""

    places: str
    arrays: dict[str, mx.array] = field(default_factory=dict[str, mx.array])
    files: dict[str, Path] = field(default_factory=dict[str, Path])


def read_config(model_path: Path) -> dict[str, Any]:
    """The model's ``config.json``. Raises `PlanError` when folder or file are missing or no JSON object."""
    if not model_path.is_dir():
        raise PlanError(f"there is no model folder {model_path}", "give the path of a model's folder")
    if not isinstance(_read_json(model_path / "config.json"), dict):
        raise PlanError(f"{model_path / 'config.json'} is not a JSON object", _FETCH)
    return load_config(model_path)  # once more, because it also decodes numbers that JSON cannot hold


def pick(model_path: Path, wanted: Callable[[str], bool]) -> Tensors:
    """Every tensor of the folder whose name is ``wanted``, not yet read from disk.

    Raises `PlanError` naming tensor and file when the folder holds no safetensors, a file is missing or
    unreadable, or a file lacks what the index promises.
    """
    index_path = model_path / INDEX
    if not index_path.exists():
        return _pick_without_index(model_path, wanted)
    weight_map = _read_json(index_path)
    weight_map = weight_map.get("weight_map") if isinstance(weight_map, dict) else None
    if not isinstance(weight_map, dict):
        raise PlanError(f"{index_path} has no 'weight_map'", _FETCH)
    by_file: dict[str, list[str]] = {}
    for name, file in weight_map.items():
        if wanted(name):
            by_file.setdefault(file, []).append(name)
    tensors = Tensors(str(index_path))
    for file, names in by_file.items():
        path = model_path / file
        found = _open(path)
        for name in names:
            if name not in found:
                raise PlanError(f"tensor {name} is not in {path}, where the index places it", _FETCH)
            tensors.arrays[name] = found[name]
            tensors.files[name] = path
    return tensors


def _pick_without_index(model_path: Path, wanted: Callable[[str], bool]) -> Tensors:
    paths = sorted(model_path.glob(_WEIGHTS))
    if not paths:
        raise PlanError(f"{model_path} holds no {_WEIGHTS}", "give the folder of an MLX model")
    tensors = Tensors(", ".join(str(path) for path in paths))
    for path in paths:
        for name, array in _open(path).items():
            if wanted(name):
                tensors.arrays[name] = array
                tensors.files[name] = path
    return tensors


def _open(path: Path) -> dict[str, mx.array]:
    try:
        return mx.load(str(path), format="safetensors")  # type: ignore[return-value]
    except (RuntimeError, ValueError, OSError) as error:
        cause = "is missing" if not path.exists() else f"cannot be read: {error}"
        raise PlanError(f"the weights file {path} {cause}", _FETCH) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise PlanError(f"{path} is missing", "give the folder of an MLX model, or fetch it again") from None
    except (OSError, ValueError) as error:
        raise PlanError(f"{path} cannot be read: {error}", _FETCH) from error

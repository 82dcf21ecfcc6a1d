"""Safetensors headers of a model folder: each tensor's name, dtype and shape, without reading its data.

Standard library only, so that any host can do it. Format: https://github.com/huggingface/safetensors
(8 bytes length, little endian; JSON header; data).
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ringcore.spec.card import Tensor
from ringcore.spec.errors import PlanError

INDEX = "model.safetensors.index.json"
_AGAIN = "copy the file to this host again"
_MAX_HEADER = 100_000_000  # the format's own limit
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


def read_tensors(folder: Path) -> list[Tensor]:
    """All tensors of the model in ``folder``, sorted by name: those of its index, else of
    ``model*.safetensors``.

    Raises `PlanError` naming the file: none there, one of the index missing, damaged or cut short.
    """
    wanted = _read_index(folder / INDEX)
    files = [folder / name for name in sorted(set(wanted.values()))]
    files = files or sorted(folder.glob("model*.safetensors"))
    if not files:
        raise PlanError(f"no model*.safetensors in {folder}", "copy the whole model folder to this host")
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise PlanError(
            f"{len(missing)} of {len(files)} weight files are missing in {folder}: {', '.join(missing[:3])}",
            "copy the missing files to this host",
        )
    found: dict[str, Tensor] = {}
    for path in files:
        for tensor in read_header(path):
            if wanted.get(tensor.name, path.name) == path.name:
                found[tensor.name] = tensor
    for name, file in wanted.items():
        if name not in found:
            raise PlanError(f"{folder / file} lacks {name}, which the index places there", _AGAIN)
    return [found[name] for name in sorted(found)]


def _read_index(path: Path) -> dict[str, str]:
    """Tensor name -> file name; empty when there is no index."""
    if not path.exists():
        return {}
    names = json_object(path).get("weight_map")
    if not isinstance(names, dict) or not all(_is_file_name(name) for name in names.values()):
        raise PlanError(f"{path} has no weight_map of file names", _AGAIN)
    return names


def read_header(path: Path) -> Iterator[Tensor]:
    """The tensors of one file. Raises `PlanError` when it cannot be read, is damaged, or ends too early."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(_MAX_HEADER, size - 8):
                raise _damaged(path, f"a header of {length} bytes does not fit in its {size} bytes")
            header = json.loads(file.read(length))
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror or error}", "check the file") from None
    except (ValueError, RecursionError):
        raise _damaged(path, "its header is no JSON") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no table of tensors")
    data_bytes = size - 8 - length
    for name, entry in header.items():
        if name != "__metadata__":
            yield _tensor(path, name, entry, data_bytes)


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises `PlanError` when it is not there or is none."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise PlanError(f"no {path.name} in {path.parent}", "name the folder of an MLX model") from None
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror or error}", "check the file") from None
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path} is not valid JSON: {error}", _AGAIN) from None
    if not isinstance(value, dict):
        raise PlanError(f"{path} holds no JSON object", _AGAIN)
    return value


def _tensor(path: Path, name: str, entry: object, data_bytes: int) -> Tensor:
    try:
        assert isinstance(entry, dict)
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        start, end = entry["data_offsets"]
        whole = all(isinstance(n, int) and n >= 0 for n in (*shape, start, end))
        expected = math.prod(shape) * _BITS[dtype] // 8
    except (AssertionError, KeyError, TypeError, ValueError):
        raise _damaged(path, f"the entry of {name!r} is not understood") from None
    if not whole or end - start != expected:
        raise _damaged(path, f"the bytes of {name!r} do not fit its shape")
    if end > data_bytes:
        raise _damaged(path, f"it ends before the data of {name!r}; a copy was cut short")
    return Tensor(name, dtype, shape, expected)


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name


def _damaged(path: Path, why: str) -> PlanError:
    return PlanError(f"{path} is damaged: {why}", _AGAIN)

"""Safetensors files written by hand, right and wrong, without mlx; the card of a folder on this machine."""

import json
import struct
from pathlib import Path
from typing import Any

from ringcore.checkpoint.survey import Tensor, survey
from ringcore.planning.card import make_card
from ringcore.spec.card import ModelCard

WIDTH = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "U8": 1, "F8_E4M3": 1, "I64": 8}


def elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def header(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> tuple[dict[str, Any], int]:
    """The entries of ``tensors`` (name -> dtype, shape) one after the other, and the bytes of their data."""
    entries: dict[str, Any] = {}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = elements(shape) * WIDTH[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return entries, at


def write(
    path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]], metadata: dict[str, str] | None = None
) -> Path:
    """A sound file with zeros for data."""
    entries, size = header(tensors)
    if metadata:
        entries["__metadata__"] = metadata
    return write_raw(path, json.dumps(entries).encode(), size)


def write_raw(path: Path, head: bytes, data_bytes: int, length: int | None = None) -> Path:
    """``head`` as the header, said to be ``length`` bytes long (by itself: as long as it is)."""
    said = len(head) if length is None else length
    path.write_bytes(struct.pack("<Q", said) + head + bytes(data_bytes))
    return path


def index(folder: Path, weight_map: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )


def read_card(folder: Path, dtype: str) -> ModelCard:
    """What the console makes of a host's survey of ``folder``."""
    found = survey(folder)
    return make_card(folder.name, found["config"], [Tensor(*entry) for entry in found["tensors"]], dtype)

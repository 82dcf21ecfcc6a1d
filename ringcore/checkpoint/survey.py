"""What a model folder holds: its config, and each tensor's name, dtype and shape, without reading its data.

This file is also sent to hosts as text and run there (``python -c TEXT FOLDER``) before anything is
installed: standard library only, nothing of this project, Python 3.8. It prints one JSON line,
``{"ok": true, "config": {...}, "tensors": [[name, dtype, shape, bytes], ...]}`` or ``{"ok": false, "cause":
..., "remedy": ..., "absent": false}``. Format of the files: https://github.com/huggingface/safetensors
(8 bytes length, little endian; JSON header; data).
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple  # noqa: UP035 - collections.abc's is no generic in 3.8

INDEX = "model.safetensors.index.json"
_AGAIN = "copy the file to this host again"
_MAX_HEADER = 100_000_000  # the format's own limit
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


class Tensor(NamedTuple):
    """One entry of a header. ``dtype`` in the format's words (``BF16``); ``nbytes`` as stored."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


class Unreadable(Exception):
    """The folder is no whole model; ``absent``: there is none. Becomes a `PlanError` where that is known."""

    def __init__(self, cause: str, remedy: str, absent: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.absent = absent


def survey(folder: Path) -> dict[str, Any]:
    """The answer for ``folder``. Raises `Unreadable`."""
    try:
        if not folder.is_dir():
            there = folder.exists()
            raise Unreadable(
                f"the model folder {folder} {'is a file' if there else 'is not there'}",
                'copy the model there, correct `model` in the profile, or have it sent: weights = "push"',
                absent=not there,
            )
        return {"ok": True, "config": json_object(folder / "config.json"), "tensors": read_tensors(folder)}
    except OSError as error:
        raise Unreadable(
            f"the model folder {folder} cannot be read: {error.strerror or error}", "check its permissions"
        ) from None


def main(arguments: list[str]) -> int:
    try:
        answer = survey(Path(arguments[0]).expanduser())
    except Unreadable as error:
        answer = {"ok": False, "cause": error.cause, "remedy": error.remedy, "absent": error.absent}
    sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
    return 0


def read_tensors(folder: Path) -> list[Tensor]:
    """All tensors of the model in ``folder``, sorted by name: those of its index, else of
    ``model*.safetensors``.

    Raises `Unreadable` naming the file: none there, one of the index missing, damaged or cut short.
    """
    wanted, files = weight_files(folder)
    if not files:
        raise Unreadable(f"no model*.safetensors in {folder}", "copy the whole model folder to this host")
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise Unreadable(
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
            raise Unreadable(f"{folder / file} lacks {name}, which the index places there", _AGAIN)
    return [found[name] for name in sorted(found)]


def weight_files(folder: Path) -> tuple[dict[str, str], list[Path]]:
    """Tensor name -> file name as the index has it (empty without one), and the files of the model."""
    path = folder / INDEX
    wanted = index_names(path, json_object(path)) if path.exists() else {}
    files = [folder / name for name in sorted(set(wanted.values()))]
    return wanted, files or sorted(folder.glob("model*.safetensors"))


def index_names(path: Path, index: dict[str, Any]) -> dict[str, str]:
    """Tensor name -> file name, of the index that ``path`` holds."""
    names = index.get("weight_map")
    if not isinstance(names, dict) or not all(_is_file_name(name) for name in names.values()):
        raise Unreadable(f"{path} has no weight_map of file names", _AGAIN)
    return names


def read_header(path: Path) -> Iterator[Tensor]:
    """The tensors of one file. Raises `Unreadable` when it cannot be read, is damaged, or ends too early."""
    return (tensor for tensor, _ in read_places(path))


def read_places(path: Path) -> Iterator[tuple[Tensor, int]]:
    """`read_header`, and where in the file each tensor's data begins."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(_MAX_HEADER, size - 8):
                raise _damaged(path, f"a header of {length} bytes does not fit in its {size} bytes")
            header = file.read(length)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}", "check the file") from None
    return parse_header(path, header, size - 8 - length)


def parse_header(path: Path, header: bytes, data_bytes: int) -> Iterator[tuple[Tensor, int]]:
    """`read_places` of the file at ``path``, of which only the header's text and the size were fetched."""
    try:
        entries = json.loads(header)
    except (ValueError, RecursionError):
        raise _damaged(path, "its header is no JSON") from None
    if not isinstance(entries, dict):
        raise _damaged(path, "its header is no table of tensors")
    for name, entry in entries.items():
        if name != "__metadata__":
            tensor = _tensor(path, name, entry, data_bytes)
            yield tensor, 8 + len(header) + entry["data_offsets"][0]


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises `Unreadable` when it is not there or is none."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Unreadable(f"no {path.name} in {path.parent}", "name the folder of an MLX model") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}", "check the file") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path} is not valid JSON: {error}", _AGAIN) from None
    if not isinstance(value, dict):
        raise Unreadable(f"{path} holds no JSON object", _AGAIN)
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


def _damaged(path: Path, why: str) -> Unreadable:
    return Unreadable(f"{path} is damaged: {why}", _AGAIN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

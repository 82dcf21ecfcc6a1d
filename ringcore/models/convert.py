"""``python -m ringcore convert SRC.gguf DEST``: a GGUF file as a folder that MLX models load from.

Owns the files that are written and their durability; what is in them comes from `gguf` and
`gguf_tokenizer`. The caller decides where the folder finally lives and renames it there.
"""

# pyright: reportUnknownMemberType=false

import json
import os
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx

from ringcore.models.gguf import read_gguf
from ringcore.models.gguf_tokenizer import build_tokenizer, tokenizer_config
from ringcore.spec.errors import MlxringError, PlanError, ProvisionError


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m ringcore convert SRC.gguf DEST\n")
        return 2
    try:
        convert(Path(arguments[0]), Path(arguments[1]))
    except MlxringError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def convert(source: Path, destination: Path) -> None:
    """Write ``destination``, a new folder; all of it is on the disk when this returns.

    Raises `PlanError` for a file that cannot be converted, `ProvisionError` when it cannot be written.
    """
    try:
        checkpoint = read_gguf(source)
        tokenizer = build_tokenizer(checkpoint.metadata)
        words = tokenizer_config(checkpoint.metadata)
    except (LookupError, TypeError, ValueError) as error:
        raise PlanError(
            f"{source.name} says too little, or something odd, about itself: {type(error).__name__}: {error}",
            "use a complete file, or take the model's safetensors instead",
        ) from error
    generation = {
        key: checkpoint.config[key]
        for key in ("bos_token_id", "eos_token_id", "pad_token_id")
        if key in checkpoint.config
    }
    try:
        destination.mkdir(parents=True)
        mx.save_safetensors(
            str(destination / "model.safetensors"), checkpoint.weights, metadata={"format": "mlx"}
        )
        tokenizer.save(str(destination / "tokenizer.json"))
        _write_json(destination / "tokenizer_config.json", words)
        _write_json(destination / "generation_config.json", generation)
        _write_json(destination / "config.json", checkpoint.config)
        for path in (*destination.iterdir(), destination):
            _sync(path)
    except (OSError, RuntimeError) as error:
        raise ProvisionError(
            f"{destination} cannot be written: {error}", "choose a new folder on a disk with space"
        ) from error


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

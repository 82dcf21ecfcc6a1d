"""``python -m ringcore card MODEL_PATH [--dtype D]``: the model's card as one JSON line.

``{"ok": true, "card": ModelCard}``, or ``{"ok": false, "failure": Failure}`` and the failure's exit
code. Runs on a host before anything else is there: no mlx.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from ringcore.checkpoint.headers import json_object, read_tensors
from ringcore.planning.card import DTYPES, make_card
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import MlxringError, PlanError


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="ringcore card")
    parser.add_argument("model", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="stored", help="dtype of floating tensors")
    options = parser.parse_args(arguments)
    try:
        answer = {"ok": True, "card": read_card(options.model, options.dtype)}
        code = 0
    except MlxringError as error:
        answer = {"ok": False, "failure": error.failure}
        code = error.failure.exit_code
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return code


def read_card(model: Path, dtype: str) -> ModelCard:
    """The card of the model in folder ``model``. Raises `PlanError` with what is wrong with the folder."""
    folder = model.expanduser()
    try:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "is not there"
            raise PlanError(
                f"the model folder {folder} {what}", "copy the model there, or correct `model` in the profile"
            )
        return make_card(folder.name, json_object(folder / "config.json"), read_tensors(folder), dtype)
    except OSError as error:
        raise PlanError(
            f"the model folder {folder} cannot be read: {error.strerror or error}", "check its permissions"
        ) from None

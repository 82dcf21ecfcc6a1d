"""A whole sequence's cache in a file of safetensors, and back into caches of the same kinds.

Of windows only what is needed to go on is written. The file is private, and whole or not there. Knows no
layers or models but the numbers it is given.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ringcore.cache import kinds, parts, sequence, tensors
from ringcore.cache.kinds import NotPossible
from ringcore.cache.sequence import SequenceCache
from ringcore.spec.errors import RingError
from ringcore.whole_file import replace_file


def write(path: Path, cache: Sequence[Any], layers: Sequence[int]) -> None:
    """``layers``: of each entry. Raises ``OSError``, or `NotPossible` for a batch or an unknown class."""
    tokens = sequence.offset(cache)
    if not isinstance(tokens, int):
        raise NotPossible(cache[0], "be written: it does not know where it is")
    held = [parts.cut(leaf, 0, tokens) for leaf in kinds.leaves(cache)]
    named = tensors.named(tensors.keys(cache, layers), held)
    replace_file(path, save({key: np.array(array) for key, array in named}, {"tokens": str(tokens)}))


def read(path: Path, like: Sequence[Any], layers: Sequence[int]) -> SequenceCache:
    """Caches of the kinds of ``like`` that go on where those in the file were. Raises `RingError` when the
    file is damaged, or of other layers."""
    try:
        with safe_open(path, framework="np") as opened:
            said: dict[str, str] = opened.metadata() or {}
            found = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        tokens = int(said["tokens"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RingError(f"{path} holds no sequence: {error}", "remove the file") from error
    cache = sequence.new(like)
    keys = tensors.keys(cache, layers)
    if any(".".join(name.split(".")[:2]) not in keys for name in found):
        raise RingError(f"{path} is of other layers", "remove the file")
    for leaf, part in zip(kinds.leaves(cache), tensors.parts(keys, found), strict=True):
        parts.join(leaf, [part], tokens)
    sequence.note_offset(cache, tokens)
    return cache

"""Where a model of mlx-lm keeps its layers, and what it holds around them: found by shape, not by name.

Works on the model as built from its config, before quantisation and before any tensor exists in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from ringcore.spec.errors import PlanError
from ringcore.spec.shard import Shard


@dataclass(frozen=True)
class Structure:
    """Paths, dotted, as in parameter names. ``layers`` is the list of layers; ``first`` is what the model
    needs before them, ``last`` what it needs after them: with a tied head the embedding is in both."""

    layers: str
    first: tuple[str, ...]
    last: tuple[str, ...]
    total: int
    hidden_size: int
    vocab_size: int

    @property
    def outer(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.first, *self.last)))

    def wanted(self, shard: Shard) -> tuple[str, ...]:
        """Paths outside the layers that a stage of ``shard`` holds."""
        first = self.first if shard.is_first else ()
        last = self.last if shard.is_last else ()
        return tuple(dict.fromkeys((*first, *last)))


def find(model: nn.Module) -> Structure:
    """Raises `PlanError` when the layers or the embedding cannot be told."""
    given: Any = model  # its attributes are the architecture's
    layers: list[nn.Module] = list(given.layers)
    path = _path_of(model, layers)
    first: list[str] = []
    last: list[str] = []
    embeddings: list[nn.Embedding] = []
    for unit, value in _units(model, path):
        found = _embeddings_in(value)
        (first if found else last).append(unit)
        embeddings += found
    if not embeddings:
        raise _not_understood(model, "no embedding beside the layers")
    # Others beside that of the vocabulary are narrower, or come after it.
    vocab_size, hidden_size = max((each.weight.shape for each in embeddings), key=lambda shape: shape[1])
    if not any(_has_rows(module_at(model, unit), vocab_size) for unit in last):
        last.append(first[0])
    return Structure(
        layers=path,
        first=tuple(first),
        last=tuple(last),
        total=len(layers),
        hidden_size=hidden_size,
        vocab_size=vocab_size,
    )


def module_at(model: nn.Module, path: str) -> Any:
    """What is at a dotted path: a module, a list of them, or an array; ``""`` is the model itself."""
    found: Any = model
    for part in path.split(".") if path else ():
        found = getattr(found, part)
    return found


def arrays_of(value: Any) -> list[mx.array]:
    """The arrays that come from a checkpoint, of what `module_at` returned."""
    if isinstance(value, mx.array):
        return [value]
    found: list[mx.array] = []
    for module in _modules(value):
        named: dict[str, mx.array] = dict(tree_flatten(module.parameters()))
        found += named.values()
    return found


def prune(model: nn.Module, structure: Structure, shard: Shard) -> None:
    """Take every array from ``model`` that a stage of ``shard`` does not hold.

    The modules stay, with all else they know of themselves: the model's code asks layers for their kind.
    """
    layers: list[nn.Module] = module_at(model, structure.layers)
    for number, layer in enumerate(layers):
        if number not in shard:
            _strip(layer)
    wanted = structure.wanted(shard)
    for path in structure.outer:
        if path not in wanted:
            parent, name = module_at(model, path.rpartition(".")[0]), path.rpartition(".")[2]
            if isinstance(parent[name], mx.array):
                del parent[name]
                continue
            for module in _modules(parent[name]):
                _strip(module)


def _strip(module: nn.Module) -> None:
    for each in module.modules():
        for name in [name for name, value in each.items() if isinstance(value, mx.array)]:
            del each[name]


def _path_of(model: nn.Module, layers: list[nn.Module]) -> str:
    modules: dict[str, nn.Module] = dict(model.named_modules())
    for path, module in sorted(modules.items(), key=lambda item: item[0].count(".")):
        for name, value in module.items():
            if isinstance(value, list) and len(value) == len(layers) and value and value[0] is layers[0]:
                return f"{path}.{name}" if path else name
    raise _not_understood(model, "no list of layers")


def _units(model: nn.Module, path: str) -> Iterator[tuple[str, Any]]:
    """What stands beside the layers, or beside a module that holds them, and has arrays; innermost first."""
    parts = path.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        holder = module_at(model, ".".join(parts[:depth]))
        for name, value in holder.items():
            if name != parts[depth] and not name.startswith("_") and arrays_of(value):
                yield ".".join((*parts[:depth], name)), value


def _embeddings_in(value: Any) -> list[nn.Embedding]:
    inside = (each for module in _modules(value) for each in module.modules())
    return [each for each in inside if isinstance(each, nn.Embedding)]


def _modules(value: Any) -> list[nn.Module]:
    if isinstance(value, nn.Module):
        return [value]
    return [each for each in value if isinstance(each, nn.Module)] if isinstance(value, list) else []


def _has_rows(value: Any, count: int) -> bool:
    return any(array.shape[:1] == (count,) for array in arrays_of(value))


def _not_understood(model: nn.Module, found: str) -> PlanError:
    return PlanError(
        f"the structure of {type(model).__module__} is not understood: {found}",
        "this architecture needs an adapter of its own; take another model",
    )

"""Where a model of mlx-lm keeps its embedding, layers, norm and head: found by shape, not by architecture.

Works on the model as built from its config, before quantisation and before any tensor exists in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.nn as nn

from ringcore.spec.errors import PlanError
from ringcore.spec.shard import Shard


@dataclass(frozen=True)
class Structure:
    """Paths of modules, dotted, as in parameter names. ``head`` is empty when the embedding is the head."""

    layers: str
    embedding: str
    norm: str
    head: str
    total: int
    hidden_size: int
    vocab_size: int

    def wanted(self, shard: Shard) -> tuple[str, ...]:
        """Paths of the modules outside the layers that a stage of ``shard`` holds."""
        first = (self.embedding,) if shard.is_first else ()
        last = (self.norm, self.head or self.embedding) if shard.is_last else ()
        return tuple(dict.fromkeys((*first, *last)))


def find(model: nn.Module) -> Structure:
    """Raises `PlanError` when embedding, layers, norm or head cannot be told apart."""
    given: Any = model  # its attributes are the architecture's
    layers: list[nn.Module] = list(given.layers)
    trunk_path, trunk, list_name = _trunk(model, layers)
    children = [(name, child) for name, child in trunk.children().items() if isinstance(child, nn.Module)]
    embeddings = [(name, child) for name, child in children if isinstance(child, nn.Embedding)]
    if len(embeddings) != 1:
        raise _not_understood(model, f"{len(embeddings)} embeddings beside the layers")
    embedding_name, embedding = embeddings[0]
    vocab_size, hidden_size = embedding.weight.shape
    norms = [name for name, child in children if _is_norm(child, hidden_size)]
    if len(norms) != 1:
        raise _not_understood(model, f"{len(norms)} norms after the layers")
    heads = [
        _join(path, name)
        for path, holder in ((trunk_path, trunk), (trunk_path.rpartition(".")[0], _parent(model, trunk_path)))
        for name, child in holder.children().items()
        if isinstance(child, nn.Linear) and child.weight.shape == (vocab_size, hidden_size)
    ]
    if len(heads) > 1:
        raise _not_understood(model, f"{len(heads)} heads")
    return Structure(
        layers=_join(trunk_path, list_name),
        embedding=_join(trunk_path, embedding_name),
        norm=_join(trunk_path, norms[0]),
        head=heads[0] if heads else "",
        total=len(layers),
        hidden_size=hidden_size,
        vocab_size=vocab_size,
    )


def module_at(model: nn.Module, path: str) -> Any:
    """The module (or list of layers) at a dotted path; ``""`` is the model itself."""
    found: Any = model
    for part in path.split(".") if path else ():
        found = getattr(found, part)
    return found


def prune(model: nn.Module, structure: Structure, shard: Shard) -> list[nn.Module]:
    """Take everything from ``model`` that a stage of ``shard`` does not hold; returns its layers.

    Layers keep their numbers: those of other stages are replaced by modules without parameters.
    """
    layers: list[nn.Module] = module_at(model, structure.layers)
    mine = layers[shard.start : shard.end]
    layers[:] = [layer if number in shard else nn.Identity() for number, layer in enumerate(layers)]
    wanted = structure.wanted(shard)
    for path in filter(None, (structure.embedding, structure.norm, structure.head)):
        if path not in wanted:
            setattr(_parent(model, path), path.rpartition(".")[2], nn.Identity())
    return mine


def _trunk(model: nn.Module, layers: list[nn.Module]) -> tuple[str, nn.Module, str]:
    modules: dict[str, nn.Module] = dict(model.named_modules())
    for path, module in sorted(modules.items(), key=lambda item: item[0].count(".")):
        for name, value in module.items():
            if isinstance(value, list) and len(value) == len(layers) and value and value[0] is layers[0]:
                return path, module, name
    raise _not_understood(model, "no list of layers")


def _parent(model: nn.Module, path: str) -> nn.Module:
    return module_at(model, path.rpartition(".")[0])


def _is_norm(module: nn.Module, hidden_size: int) -> bool:
    shapes = [value.shape for value in _arrays(module)]
    return bool(shapes) and all(shape == (hidden_size,) for shape in shapes)


def _arrays(module: nn.Module) -> Iterator[Any]:
    return (value for value in module.values() if hasattr(value, "shape"))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _not_understood(model: nn.Module, found: str) -> PlanError:
    return PlanError(
        f"the structure of {type(model).__module__} is not understood: {found}",
        "this architecture needs an adapter of its own; take another model",
    )

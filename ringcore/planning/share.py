"""Which tensors of a checkpoint a stage needs, in the units that are moved whole: a layer, the embedding, ...

Names of units name files on hosts, so they stay what they are. Pure; knows neither files nor bytes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from ringcore.checkpoint.survey import INDEX, Tensor
from ringcore.planning.architectures import module_of
from ringcore.planning.config import Config, layer_count, text_part
from ringcore.planning.parts import is_foreign, part_of
from ringcore.planning.tied import has_tied_head
from ringcore.spec.shard import Shard

# What names do not tell the place of is small where it exists, and loading may read it: every stage has it.
ANYWHERE = "other"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RANK_FILES = ("config.json", "generation_config.json")
_TOKENIZER_SUFFIXES = (".json", ".jinja", ".txt", ".model", ".tiktoken")


def units(config: Config, tensors: Iterable[Tensor]) -> dict[str, list[Tensor]]:
    """The tensors of each unit, in order of the layers; those that no stage loads are in none."""
    count = layer_count(text_part(config))
    found: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        name = _unit_of(tensor.name, count)
        if name is not None:
            found.setdefault(name, []).append(tensor)
    return dict(sorted(found.items(), key=lambda item: _place(item[0])))


def units_of_stage(config: Config, having: Mapping[str, Sequence[Tensor]], shard: Shard) -> tuple[str, ...]:
    """Names of the units that the stage of ``shard`` loads, of those that `units` found."""
    tied = has_tied_head(module_of(config), text_part(config), has_head="head" in having)
    wanted = {layer_unit(number) for number in range(shard.start, shard.end)} | {ANYWHERE}
    if shard.is_first:
        wanted |= {"embedding", "positions"}
    if shard.is_last:
        wanted |= {"norm", "head"} | ({"embedding"} if tied else set())
    return tuple(name for name in having if name in wanted)


def reads(name: str, *, tokenizer: bool) -> bool:
    """Whether a host reads the file ``name`` beside the weights; with ``tokenizer``, as the leader's does."""
    if name == INDEX or _PLAIN_NAME.fullmatch(name) is None:
        return False
    return name in _RANK_FILES or (tokenizer and name.endswith(_TOKENIZER_SUFFIXES))


def layer_unit(number: int) -> str:
    return f"layer-{number:04d}"


def _unit_of(name: str, layers: int) -> str | None:
    part = part_of(name)
    if isinstance(part, int):
        return layer_unit(part) if part < layers else None
    return part or (None if is_foreign(name) else ANYWHERE)


def _place(unit: str) -> tuple[int, str]:
    order = ("embedding", "positions", ANYWHERE, "", "norm", "head")
    return (order.index(unit) if unit in order else 3, unit)

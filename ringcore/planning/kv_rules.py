"""Ways in which layers keep keys and values, each as a function of the model's config.

Knows no names of architectures: `kv` says which goes which way.
"""

from collections.abc import Callable, Mapping, Sequence

from ringcore.planning import kinds
from ringcore.planning.config import HEADS, HIDDEN, Config, integer, listed
from ringcore.planning.kept import CACHE_STEP, Heads, Kept, kept
from ringcore.planning.kinds import FULL, SLIDING

Rule = Callable[[Config, int], Sequence[Kept]]  # of a config's text part and its number of layers
HeadsOf = Callable[[Config], Heads]
Fixed = Callable[[Config], int]


# Heads -------------------------------------------------------------------------------------------
def grouped(config: Config, *, own_head_dim: bool = True, kv_heads: int | None = None) -> Heads:
    heads = integer(config, *HEADS)
    if kv_heads is None:
        kv_heads = integer(config, "num_key_value_heads", "n_kv_heads", default=heads)
    size = integer(config, *HIDDEN) // max(1, heads)
    if own_head_dim:
        size = integer(config, "head_dim", default=size)
    return Heads(kv_heads, size, size)


def plain(config: Config) -> Heads:
    return grouped(config, own_head_dim=False)


def all_heads(config: Config) -> Heads:
    return grouped(config, own_head_dim=False, kv_heads=integer(config, *HEADS))


def multi_query(config: Config) -> Heads:
    heads = 1 if config.get("multi_query", True) else integer(config, *HEADS)
    return grouped(config, own_head_dim=False, kv_heads=heads)


def one_of_several(config: Config) -> Heads:
    shared = max(1, integer(config, "n_shared_head", default=8))
    return grouped(config, own_head_dim=False, kv_heads=-(-integer(config, *HEADS) // shared))


def dbrx(config: Config) -> Heads:
    inner: Config = config.get("attn_config") or {}
    return grouped(config, own_head_dim=False, kv_heads=integer(inner, "kv_n_heads"))


def expanded_latent(config: Config) -> Heads:
    """Keys and values are cached after expanding the latent, for every head."""
    keys = integer(config, "qk_nope_head_dim", default=128) + integer(config, "qk_rope_head_dim", default=64)
    return Heads(integer(config, *HEADS), keys, integer(config, "v_head_dim", default=128))


def minicpm3(config: Config) -> Heads:
    heads = integer(config, *HEADS)
    keys = integer(config, "qk_nope_head_dim") + integer(config, "qk_rope_head_dim")
    return Heads(heads, keys, integer(config, *HIDDEN) // heads)


def latent(config: Config) -> Heads:
    """The latent and the rotary key, once for all heads."""
    rank = integer(config, "kv_lora_rank", default=512)
    return Heads(1, rank, integer(config, "qk_rope_head_dim", default=64))


def gemma4_full(config: Config) -> Heads:
    heads = integer(config, "num_key_value_heads")
    if config.get("attention_k_eq_v"):
        heads = integer(config, "num_global_key_value_heads", default=heads)
    size = integer(config, "global_head_dim", "head_dim")
    return Heads(heads, size, size)


def mimo_full(config: Config) -> Heads:
    heads = integer(config, "num_key_value_heads")
    return Heads(heads, integer(config, "head_dim"), integer(config, "v_head_dim"))


def mimo_sliding(config: Config) -> Heads:
    heads = integer(config, "swa_num_key_value_heads")
    return Heads(heads, integer(config, "swa_head_dim"), integer(config, "swa_v_head_dim"))


def step_full(config: Config) -> Heads:
    size = integer(config, "head_dim")
    return Heads(integer(config, "num_attention_groups"), size, size)


def step_sliding(config: Config) -> Heads:
    other: Config = config.get("attention_other_setting") or config
    size = integer(config, "head_dim")
    return Heads(integer(other, "num_attention_groups"), size, size)


def per_head(config: Config) -> Heads:
    size = integer(config, "hidden_size_per_head", default=128)
    return Heads(integer(config, "num_key_value_heads"), size, size)


def convolved_heads(config: Config) -> int:
    """A state: of keys and of values what a convolution looks back at."""
    return (integer(config, "conv_L_cache", default=3) - 1) * grouped(config).numbers


# Layers ------------------------------------------------------------------------------------------
def every(heads: HeadsOf, fixed: Fixed | None = None) -> Rule:
    """The same in every layer."""
    return lambda config, count: [kept(heads(config), fixed=fixed(config) if fixed else 0)] * count


def state_alone(fixed: Fixed) -> Rule:
    return lambda config, count: [Kept(fixed=fixed(config))] * count


def by_kind(
    kind_of: kinds.Kinds,
    heads: Mapping[str, HeadsOf],
    fixed: Mapping[str, Fixed] | None = None,
    window: Sequence[str] = ("sliding_window",),
) -> Rule:
    """``heads`` and ``fixed`` by a layer's kind; `SLIDING` ones see at most ``window`` tokens."""

    def rule(config: Config, count: int) -> list[Kept]:
        made: list[Kept] = []
        for kind in kind_of(config, count):
            state = fixed[kind](config) if fixed and kind in fixed else 0
            if kind in heads:
                seen = integer(config, *window) if kind == SLIDING else 0
                made.append(kept(heads[kind](config), seen, state))
            else:
                made.append(Kept(fixed=state))
        return made

    return rule


def indexed_latent(config: Config, count: int) -> list[Kept]:
    index = integer(config, "index_head_dim", default=128)
    return [Kept(latent(config).numbers + 2 * index)] * count


def two_latents(config: Config, count: int) -> list[Kept]:
    return [Kept(2 * latent(config).numbers)] * count


def ngram_latents(config: Config, count: int) -> list[Kept]:
    # The last token ids, eight bytes each, stand before the layers and are counted with the first.
    ids = 2 * (integer(config, "emb_neighbor_num", default=4) - 1)
    numbers = 2 * latent(config).numbers
    return [Kept(numbers, fixed=ids if number == 0 else 0) for number in range(count)]


def as_computed(rule: Rule, key: str) -> Rule:
    """Where the config has ``key``, full attention is of a kind that takes no caches in few bits."""

    def checked(config: Config, count: int) -> Sequence[Kept]:
        found = rule(config, count)
        return [each._replace(head=0) for each in found] if config.get(key) else found

    return checked


def openelm(config: Config, count: int) -> list[Kept]:
    heads = listed(config, "num_kv_heads", count) or []
    size = integer(config, "head_dim")
    return [kept(Heads(int(each), size, size)) for each in heads[:count]]


def nemotron_nas(config: Config, count: int) -> list[Kept]:
    heads = integer(config, *HEADS)
    size = integer(config, *HIDDEN) // max(1, heads)
    made: list[Kept] = []
    for block in (listed(config, "block_configs", count) or [])[:count]:
        group = block.get("attention", {}).get("n_heads_in_group")
        made.append(kept(Heads(heads // group, size, size)) if group else Kept())
    return made


def baichuan(config: Config, count: int) -> list[Kept]:
    sliding = config.get("sliding_window_layers") or []
    hidden = integer(config, *HIDDEN)
    made: list[Kept] = []
    for number in range(count):
        prefix = "num_swa_" if number in sliding else "num_"
        size = hidden // integer(config, f"{prefix}attention_heads", *HEADS)
        heads = Heads(integer(config, f"{prefix}key_value_heads", "num_key_value_heads"), size, size)
        window = integer(config, "sliding_window") if number in sliding else 0
        made.append(kept(heads, window, heads.numbers))
    return made


def minimax_m3(config: Config, count: int) -> list[Kept]:
    nested: Config = config.get("sparse_attention_config") or {}
    index = integer({**config, **nested}, "sparse_index_dim", "index_head_dim", default=0)
    sparse = listed(nested, "sparse_attention_freq", count) or listed(config, "sparse_attention_freq", count)
    if config.get("layer_types"):
        sparse = [kind != FULL for kind in listed(config, "layer_types", count) or []]
    sparse = sparse or [True] * count
    numbers = grouped(config).numbers
    return [Kept(numbers + (index if sparse[number] else 0)) for number in range(count)]


def llama4(config: Config, count: int) -> list[Kept]:
    # A chunked cache grows by whole steps past its chunk.
    chunk = integer(config, "attention_chunk_size", default=8192) + CACHE_STEP
    return [kept(grouped(config), 0 if (number + 1) % 4 == 0 else chunk) for number in range(count)]

"""What a model weighs: read from ``config.json`` and safetensors headers, without loading a tensor."""

from msgspec import Struct


class LayerCard(Struct, frozen=True):
    """``weight_bytes`` in the dtype the rank will hold; ``kv_bytes_per_token`` for one sequence.

    ``read_bytes_per_token`` is what one decoded token reads of the weights: with experts only the chosen
    ones; 0 stands for all. ``kv_window``: the layer keeps that many tokens at most; 0 stands for all.
    ``kv_head``: heads of keys and of values are multiples of that many numbers; 0: they
    cannot be kept in few bits.
    ``four_bit_bytes``: what the weights would be at 4 bits; 0 is not known.
    """

    weight_bytes: int
    kv_bytes_per_token: int
    state_bytes_per_sequence: int = 0  # fixed-size state (SSM); 0 for attention
    read_bytes_per_token: int = 0
    kv_window: int = 0
    four_bit_bytes: int = 0
    kv_head: int = 0


class ModelCard(Struct, frozen=True, kw_only=True):
    """Sizes in bytes, in the dtypes the ranks will hold after any cast (see ``dtype``).

    ``embedding_bytes`` lives where layer 0 lives; ``norm_bytes`` and ``head_bytes`` where the last
    layer lives. With tied embeddings ``head_bytes`` equals ``embedding_bytes`` (the last stage needs
    its own copy unless it also holds the first layer).
    """

    name: str
    architecture: str  # `model_type` of config.json
    layers: tuple[LayerCard, ...]
    hidden_size: int
    vocab_size: int
    embedding_bytes: int
    norm_bytes: int
    head_bytes: int
    tied: bool
    dtype: str
    quantization: str = ""  # "4-bit g32", "" for none
    attention_heads: int = 0
    mlp_width: int = 0  # widest inner width of a layer's MLP for one token, all its chosen experts together
    max_context: int = 0  # 0 when the config does not say
    four_bit_embedding_bytes: int = 0  # as they would be at 4 bits; 0 is not known
    four_bit_head_bytes: int = 0
    revision: str = ""  # hash of config and headers, whatever the dtype

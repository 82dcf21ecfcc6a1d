"""Numbers in the state of fixed size that a layer keeps of a sequence, as mlx-lm's model files store it.

One function a kind of layer: state-space, linear attention, convolution, recurrence.
"""

from ringcore.planning.config import HEADS, HIDDEN, Config, integer


def mamba(config: Config) -> int:
    inner = integer(config, "intermediate_size", "d_inner")
    kernel = integer(config, "conv_kernel", "d_conv")
    return inner * (kernel - 1 + integer(config, "state_size", "d_state"))


def jamba(config: Config) -> int:
    inner = integer(config, "mamba_expand") * integer(config, *HIDDEN)
    return inner * (integer(config, "mamba_d_conv") - 1 + integer(config, "mamba_d_state"))


def mamba2(config: Config) -> int:
    return _grouped_state(
        integer(config, "num_heads"),
        integer(config, "head_dim"),
        integer(config, "ssm_state_size", "state_size"),
        integer(config, "n_groups"),
        integer(config, "conv_kernel"),
    )


def nemotron_h(config: Config) -> int:
    return _grouped_state(
        integer(config, "mamba_num_heads"),
        integer(config, "mamba_head_dim"),
        integer(config, "ssm_state_size"),
        integer(config, "n_groups"),
        integer(config, "conv_kernel"),
    )


def mamba_beside_attention(config: Config) -> int:
    """falcon_h1, granitemoehybrid."""
    return _grouped_state(
        integer(config, "mamba_n_heads"),
        integer(config, "mamba_d_head"),
        integer(config, "mamba_d_state"),
        integer(config, "mamba_n_groups"),
        integer(config, "mamba_d_conv"),
    )


def plamo2(config: Config) -> int:
    heads, head = integer(config, "mamba_num_heads"), integer(config, "hidden_size_per_head")
    kernel, size = integer(config, "mamba_d_conv"), integer(config, "mamba_d_state")
    return heads * head * (kernel - 1 + size)


def gated_delta(config: Config) -> int:
    """qwen3_next, qwen3_5, olmo_hybrid."""
    keys = integer(config, "linear_num_key_heads") * integer(config, "linear_key_head_dim")
    values = integer(config, "linear_num_value_heads") * integer(config, "linear_value_head_dim")
    kernel = integer(config, "linear_conv_kernel_dim")
    return (kernel - 1) * (2 * keys + values) + values * integer(config, "linear_key_head_dim")


def kimi_delta(config: Config) -> int:
    """kimi_linear, from its ``linear_attn_config``."""
    inner: Config = config.get("linear_attn_config") or {}
    return _delta(
        integer(inner, "num_heads"), integer(inner, "head_dim"), integer(inner, "short_conv_kernel_size")
    )


def bailing_delta(config: Config) -> int:
    kernel = integer(config, "short_conv_kernel_size", default=4)
    return _delta(integer(config, *HEADS), integer(config, "head_dim"), kernel)


def linear_attention(config: Config) -> int:
    """bailing_hybrid, bailing_moe_linear."""
    heads = integer(config, *HEADS)
    head = integer(config, "head_dim", default=integer(config, *HIDDEN) // max(1, heads))
    return heads * head * head


def short_convolution(config: Config) -> int:
    return (integer(config, "conv_L_cache", default=3) - 1) * integer(config, *HIDDEN)


def recurrent(config: Config) -> int:
    return integer(config, "conv1d_width") * integer(config, *HIDDEN)


def rwkv(config: Config) -> int:
    return integer(config, *HIDDEN) * (2 + integer(config, "head_dim"))


def _grouped_state(heads: int, head: int, size: int, groups: int, kernel: int) -> int:
    return (kernel - 1) * (heads * head + 2 * groups * size) + heads * head * size


def _delta(heads: int, head: int, kernel: int) -> int:
    return 3 * (kernel - 1) * heads * head + heads * head * head

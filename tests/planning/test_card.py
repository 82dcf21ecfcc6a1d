"""A card from a config and tensors' names: what counts, in which dtype, and what is refused."""

from math import prod
from typing import Any

import pytest

from ringcore.checkpoint.survey import Tensor
from ringcore.planning.architectures import module_of
from ringcore.planning.card import make_card
from ringcore.planning.kept import Kept
from ringcore.planning.kv import caches
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError

WIDTH = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "F8_E4M3": 1}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "vocab_size": 10,
    "tie_word_embeddings": False,
}


def tensor(name: str, *shape: int, dtype: str = "BF16") -> Tensor:
    return Tensor(name, dtype, shape, prod(shape) * WIDTH[dtype])


def outer(dtype: str = "BF16", *, head: bool = True) -> list[Tensor]:
    found = [
        tensor("model.embed_tokens.weight", 10, 8, dtype=dtype),
        tensor("model.norm.weight", 8, dtype=dtype),
    ]
    return [*found, *([tensor("lm_head.weight", 10, 8, dtype=dtype)] if head else [])]


def layers(count: int = 2, dtype: str = "BF16") -> list[Tensor]:
    return [tensor(f"model.layers.{n}.mlp.up_proj.weight", 16, 8, dtype=dtype) for n in range(count)]


def make(tensors: list[Tensor], dtype: str = "stored", **changes: Any) -> ModelCard:
    config = {key: value for key, value in {**LLAMA, **changes}.items() if value is not None}
    return make_card("m", config, tensors, dtype)


def refused(tensors: list[Tensor], **changes: Any) -> str:
    with pytest.raises(PlanError) as caught:
        make(tensors, **changes)
    assert caught.value.failure.remedy
    return caught.value.failure.cause


def test_stored_tensors_weigh_what_the_file_holds() -> None:
    card = make([*layers(), *outer()])
    assert [layer.weight_bytes for layer in card.layers] == [256, 256]
    assert (card.embedding_bytes, card.norm_bytes, card.head_bytes) == (160, 16, 160)
    assert card.dtype == "bfloat16"


def test_a_cast_makes_floating_tensors_larger_and_packed_ones_not() -> None:
    packed = tensor("model.layers.0.mlp.down_proj.weight", 8, 2, dtype="U32")
    scales = tensor("model.layers.0.mlp.down_proj.scales", 8, 1)
    card = make([*layers(), packed, scales, *outer()], "float32", quantization={"bits": 4, "group_size": 32})
    assert card.layers[0].weight_bytes == 2 * 256 + packed.nbytes + 2 * scales.nbytes
    assert (card.dtype, card.quantization) == ("float32", "4-bit g32")
    assert card.layers[0].kv_bytes_per_token == 2 * 8 * 4


def test_the_commonest_dtype_is_the_stored_one() -> None:
    assert make([*layers(dtype="F16"), *outer("F32")]).dtype == "float16"


def test_tied_heads_are_counted_as_the_embedding_even_when_a_copy_is_stored() -> None:
    card = make([*layers(), *outer(head=False)], tie_word_embeddings=True)
    assert card.tied and card.head_bytes == card.embedding_bytes
    again = make([*layers(), *outer()], tie_word_embeddings=True)
    assert again.head_bytes == again.embedding_bytes


def test_layers_past_the_last_one_and_rotary_tables_are_not_loaded() -> None:
    extra = [
        *layers(3)[2:],
        tensor("model.layers.0.self_attn.rotary_emb.inv_freq", 4, dtype="F32"),
    ]
    assert make([*layers(), *extra, *outer()]).layers == make([*layers(), *outer()]).layers


@pytest.mark.parametrize(
    "name",
    [
        "mtp.layers.0.mlp.up_proj.weight",
        "model.mtp.layers.0.mlp.up_proj.weight",
        "model.mtp_layers.0.final_layernorm.weight",
        "model.mtp_block.0.mlp.up_proj.weight",
        "model.mtp_emb_norm.0.weight",
        "model.layers.2.shared_head.head.weight",
        "model.layers.2.embed_tokens.weight",
    ],
)
def test_what_predicts_further_tokens_is_not_loaded(name: str) -> None:
    extra = tensor(name, 8, 8)
    card, bare = make([*layers(), extra, *outer()]), make([*layers(), *outer()])
    assert (card.layers, card.norm_bytes) == (bare.layers, bare.norm_bytes)
    assert (card.embedding_bytes, card.head_bytes) == (bare.embedding_bytes, bare.head_bytes)


def test_a_token_reads_the_chosen_experts_only() -> None:
    experts = [
        tensor(f"model.layers.{n}.mlp.experts.{e}.up_proj.weight", 16, 8) for n in range(2) for e in range(4)
    ]
    card = make(
        [*layers(), *experts, *outer()],
        model_type="qwen3_moe",
        num_experts=4,
        num_experts_per_tok=1,
        moe_intermediate_size=16,
    )
    assert card.layers[0].weight_bytes == 256 + 4 * 256
    assert card.layers[0].read_bytes_per_token == 256 + 256


def test_tensors_that_are_missing_are_named() -> None:
    assert "layer 1" in refused([*layers(1), *outer()])
    assert "head" in refused([*layers(), *outer(head=False)])
    assert "embedding" in refused([*layers(), *outer()[1:]])


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads"])
def test_a_config_that_lacks_a_size_is_told_by_its_key(key: str) -> None:
    assert key in refused([*layers(), *outer()], **{key: None})


@pytest.mark.parametrize("value", ["8", 8.5, -8, True])
def test_a_size_that_is_no_count_is_told_by_its_key(value: object) -> None:
    cause = refused([*layers(), *outer()], hidden_size=value)
    assert "hidden_size" in cause and repr(value) in cause


def test_an_unknown_architecture_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(PlanError) as caught:
        make([*layers(), *outer()], model_type="gpt5")
    assert "'gpt5'" in caught.value.failure.cause and "llama" in caught.value.failure.remedy


def test_weights_quantised_by_another_tool_are_refused() -> None:
    cause = refused([*layers(), *outer()], quantization_config={"quant_method": "awq", "bits": 4})
    assert "'awq'" in cause


def test_the_revision_tells_models_apart_and_not_dtypes() -> None:
    tensors = [*layers(), *outer()]
    assert make(tensors).revision == make(list(reversed(tensors)), "float32").revision
    assert make(tensors).revision != make(tensors, rope_theta=5.0).revision
    assert make(tensors).revision != make([*layers(dtype="F16"), *outer()]).revision


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        ({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}, 2 * 4 * 16),
        ({"model_type": "mistral", "hidden_size": 64, "num_attention_heads": 4, "head_dim": 32}, 2 * 4 * 32),
        (
            {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2},
            2 * 2 * 16,
        ),
        (
            {"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4, "head_dim": 99},
            2 * 4 * 16,
        ),
        ({"model_type": "kimi_k2", "kv_lora_rank": 512, "qk_rope_head_dim": 64}, 576),
    ],
)
def test_a_cache_holds_what_the_architecture_keeps_of_a_token(config: dict[str, Any], numbers: int) -> None:
    (kept,) = caches(module_of(config), {**config, "num_hidden_layers": 1})
    assert (kept.per_token, kept.window, kept.fixed) == (numbers, 0, 0)


def test_a_layer_that_sees_a_window_keeps_no_more_and_one_with_a_state_keeps_that() -> None:
    kinds = ["sliding_attention", "full_attention"]
    sizes = {**LLAMA, "layer_types": kinds, "sliding_window": 6}
    assert [each.window for each in caches("llama", sizes)] == [6, 0]
    card = make([*layers(), *outer()], "float32", layer_types=kinds, sliding_window=6)
    assert [layer.kv_window for layer in card.layers] == [6, 0]
    mamba = {"intermediate_size": 16, "state_size": 4, "conv_kernel": 3, "num_hidden_layers": 2}
    assert caches("mamba", mamba) == (Kept(fixed=16 * (3 - 1 + 4)),) * 2


def test_a_text_model_inside_another_is_read_from_its_own_part_of_the_config() -> None:
    text = {key: value for key, value in LLAMA.items() if key != "model_type"}
    config = {"model_type": "pixtral", "text_config": {**text, "model_type": "llama"}, "vocab_size": 99}
    tower = tensor("vision_tower.layers.0.weight", 50, 50)
    inside = [each._replace(name=f"language_model.{each.name}") for each in [*layers(), *outer()]]
    card = make_card("m", config, [*inside, tower], "stored")
    assert card.vocab_size == 10
    assert [layer.weight_bytes for layer in card.layers] == [256, 256]


def test_what_nobody_verified_is_counted_when_the_operator_allows_it() -> None:
    config = {**LLAMA, "model_type": "bitnet", "tie_word_embeddings": False}
    with pytest.raises(PlanError, match="allow_unverified"):
        make_card("m", config, [*layers(), *outer()], "stored")
    card = make_card("m", config, [*layers(), *outer()], "stored", allow_unverified=True)
    assert card.layers[0].kv_bytes_per_token == 2 * 8 * 2

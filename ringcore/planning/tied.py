"""Whether a model's head is its embedding, as the code of mlx-lm's model files decides it."""

from ringcore.planning.config import Config, words

_ALWAYS = words(
    """
    cohere cohere2 gemma gemma2 gpt2 hunyuan lfm2 lfm2-vl lfm2_moe lille-130m phi3small
    """
)
_BY_FILE = words("gemma3 gemma3_text recurrent_gemma")
_NEVER = words(
    """
    Klear baichuan_m1 dbrx deepseek deepseek_v2 deepseek_v3 deepseek_v32 glm4 glm4_moe glm4_moe_lite
    glm_moe_dsa gpt_neox gpt_oss gptj kimi_k25 kimi_vl llama4 longcat_flash longcat_flash_ngram
    mimo_v2_flash nanochat nemotron_h phi phimoe phixtral plamo qwen qwen3_vl_moe solar_open stablelm
    step3p5
    """
)
# The default of ``tie_word_embeddings`` where the config does not say.
_BY_DEFAULT = words(
    """
    bitnet exaone falcon_h1 gear gemma4 gemma4_text glm gpt_bigcode granite granitemoe granitemoehybrid
    jamba llama mamba ministral3 mistral3 olmo2 olmoe openelm pixtral plamo2 plamo3 qwen2 qwen2_vl
    seed_oss smollm3 spark2_5 starcoder2 youtu_llm
    """
)
_KEYS = ("tie_word_embeddings", "share_input_output_layers")


def has_tied_head(name: str, config: Config, *, has_head: bool) -> bool:
    """``name``: of the module in `mlx_lm.models`. ``config``: the text part. ``has_head``: whether the
    checkpoint holds a head of its own."""
    if name in _ALWAYS:
        return True
    if name in _NEVER:
        return False
    if name in _BY_FILE:
        return not has_head
    said = next((config[key] for key in _KEYS if config.get(key) is not None), name in _BY_DEFAULT)
    return bool(said)

"""A tied head in a ring of two: which models may share it between both stages, which rows the first one
computes, and when that is better. Pure.

The first stage has the embedding, which the head is, in memory anyway.
"""

from ringcore.planning.architectures import SAME_AS
from ringcore.planning.config import words
from ringcore.planning.kept import ITEM_BYTES
from ringcore.planning.pace import Rates, Times
from ringcore.spec.card import ModelCard

# Their code does nothing with logits after `embedding.as_linear`: no scale, no soft cap, no masked tokens.
# And their stages hand on hidden states alone, which is all that links carry to a head.
SHARES = words(
    """
    afmoe apertus bailing_hybrid bailing_moe bailing_moe_linear bailing_moe_v3 dots1 ernie4_5
    ernie4_5_moe exaone exaone4 exaone_moe gemma gemma3 gemma3_text glm gpt2 gpt_bigcode hunyuan
    hunyuan_v1_dense internlm2 internlm3 jamba kimi_linear laguna lfm2 lfm2-vl lfm2_moe lille-130m
    llama mamba mamba2 mellum mimo minicpm3 minimax minimax_m3_vl ministral3 mistral3 mistral4 mixtral
    nanbeige nemotron nemotron-nas olmo2 olmo3 olmo_hybrid olmoe openelm phi3 plamo2 plamo3 qwen2
    qwen2_vl qwen3 qwen3_5 qwen3_5_moe qwen3_moe qwen3_next qwen3_vl smollm3 spark2_5 starcoder2
    telechat3 youtu_llm
    """
)
# Hidden states of rows that draw go back over the wrap link, on which a send must never block: what is
# under way there at once has to fit into socket buffers beside headers and prompts (`ringcore.rank.link`).
MOST_HIDDEN_BYTES = 24 << 10
# Rows go to a stage in multiples of it, and each stage has so many at least: kernels take them in blocks.
ROWS_STEP = 64
_HARDLY_WORSE = 0.98
_WORTH_IT = 1.05  # as many times as fast are prompts read, where answers gain nothing


def may_share(card: ModelCard, sequences: int, ranks: int) -> bool:
    """Whether a ring of so many ranks may share the head of this model."""
    hidden = sequences * card.hidden_size * ITEM_BYTES.get(card.dtype, 4)
    known = SAME_AS.get(card.architecture, card.architecture) in SHARES
    return ranks == 2 and card.tied and known and hidden <= MOST_HIDDEN_BYTES


def balanced(vocabulary: int, without: Times, whole: Times, *, alone: bool) -> int:
    """Of so many rows those for the first stage of two; 0 when it should have none.

    ``without`` and ``whole``: what a step takes when it has none, and all. Both stages then take the same
    time for a step; with ``alone`` for the head, which is what one conversation waits for.
    """
    first, last = without.first, without.last
    one, other = (without.heads, whole.heads) if alone else (without.stages, whole.stages)
    ahead = one[last] - one[first]
    part = ahead / (ahead + other[first] - other[last])
    rows = int(vocabulary * min(1.0, max(0.0, part)))
    return max(0, min(rows, vocabulary - ROWS_STEP)) // ROWS_STEP * ROWS_STEP


def better(objective: str, shared: Rates, last: Rates) -> bool:
    """Whether ``shared`` serves the objective better than all of the head on the last stage (``last``)."""
    alone, together = shared.alone / last.alone, shared.together / last.together
    if objective == "latency":
        return alone > 1
    gains = max(alone, together) > 1 or last.layers_seconds / shared.layers_seconds >= _WORTH_IT
    return gains and min(alone, together) >= _HARDLY_WORSE

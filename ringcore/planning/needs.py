"""What a run of layers takes of a rank's memory, and what it reads for each token. Pure arithmetic on a card.

All sizes in bytes. Knows no hosts: `capacity` says what they have, `split` brings both together.
"""

from collections.abc import Iterable
from itertools import accumulate

from ringcore.planning.architectures import SAME_AS
from ringcore.planning.config import words
from ringcore.planning.kept import CACHE_STEP, ITEM_BYTES
from ringcore.planning.kv_bits import in_bits
from ringcore.spec.card import LayerCard, ModelCard

# Measured with mx.get_peak_memory over prefill chunks of the demo model: arrays of a token's hidden
# size, and of its MLP's inner width, that are alive at once.
_HIDDEN_ARRAYS = 12
_MLP_ARRAYS = 4
# Their positional scores are an array of their own that is added to the others.
_TWO_SCORES = words(
    """
    bailing_hybrid bailing_moe_v3 deepseek_v2 deepseek_v3 deepseek_v32 glm4_moe_lite glm_moe_dsa
    kimi_k25 kimi_linear kimi_vl longcat_flash longcat_flash_ngram mistral4
    """
)
# Their mixers compare every token of a chunk with those before it, in each head of the state, at most
# `_MIXER_STEP` at a time. Measured with falcon_h1: a state's size for each token bounds that.
_MIXERS = words("falcon_h1 granitemoehybrid mamba2 nemotron_h plamo2")
_MIXER_STEP = 256
# The sampler's log-probabilities, their sorted copy, the order and the sums, float32 each.
_LOGITS_ARRAYS = 5


def cache_tokens(context: int) -> int:
    """Tokens for which a layer's cache has room at most once it holds ``context``: mlx-lm grows it in whole
    steps from where it is, and that is anywhere: chunks have any length, and a cache that joins a batch or
    leaves it is cut to what it holds."""
    return context + CACHE_STEP - 1


def windowed_tokens(window: int, context: int, prefill_chunk: int) -> int:
    """The same for a layer that sees ``window`` tokens: mlx-lm keeps what the first token of a chunk sees
    and the chunk, and while the window is not full, a step more than there is."""
    return min(window + prefill_chunk - 1, context + CACHE_STEP - 1)


class Needs:
    """The needs of layers ``start`` to ``end`` (half-open) for one context and number of sequences.

    Each grows when a range grows: what holds more layers never needs less. ``kv_bits``: in how many bits
    caches are kept that can be, 0 as they are computed; ``card`` has them so, ``given`` as it was given.
    """

    def __init__(
        self, given: ModelCard, *, context: int, sequences: int, prefill_chunk: int, kv_bits: int = 0
    ) -> None:
        self.given = given
        self.card = card = in_bits(given, kv_bits)
        self.kv_bits = kv_bits
        self.context = context
        self.sequences = sequences
        self.prefill_chunk = prefill_chunk
        self.total = len(card.layers)
        caches = [self._cache(each) for each in card.layers]
        self._weights = _sums(each.weight_bytes for each in card.layers)
        self._caches = _sums(sequences * cache for cache in caches)
        # A cache that grows is copied: one layer is there twice, of all sequences where they decode together.
        self._workspace = self._step_bytes() + sequences * max(caches)
        self._logits = _LOGITS_ARRAYS * 4 * sequences * card.vocab_size

    def changed(
        self,
        *,
        given: ModelCard | None = None,
        context: int | None = None,
        sequences: int | None = None,
        prefill_chunk: int | None = None,
        kv_bits: int | None = None,
    ) -> "Needs":
        """The same but for what is named."""
        return Needs(
            self.given if given is None else given,
            context=self.context if context is None else context,
            sequences=self.sequences if sequences is None else sequences,
            prefill_chunk=self.prefill_chunk if prefill_chunk is None else prefill_chunk,
            kv_bits=self.kv_bits if kv_bits is None else kv_bits,
        )

    def weights(self, start: int, end: int) -> int:
        """What the rank holds after load: layers, embedding with layer 0, norm and head with the last."""
        card = self.card
        size = self._weights[end] - self._weights[start]
        if start == 0:
            size += card.embedding_bytes
        if end == self.total:
            size += card.norm_bytes + (0 if card.tied and start == 0 else card.head_bytes)
        return size

    def kv(self, start: int, end: int) -> int:
        """Caches of all sequences at full length."""
        return self._caches[end] - self._caches[start]

    def workspace(self, start: int, end: int) -> int:
        """Activations of the largest step; the logits where the last layer is."""
        return self._workspace + (self._logits if end == self.total else 0)

    def all(self, start: int, end: int) -> int:
        return self.weights(start, end) + self.kv(start, end) + self.workspace(start, end)

    def lines(self) -> tuple[list[int], list[int]]:
        """``all(start, end)`` as ``up[end] - down[start]``; not for one rank that holds everything, whose
        tied head is its embedding."""
        card = self.card
        down = [weights + caches for weights, caches in zip(self._weights, self._caches, strict=True)]
        up = [size + self._workspace for size in down]
        down[0] -= card.embedding_bytes
        up[-1] += card.norm_bytes + card.head_bytes + self._logits
        return up, down

    def _cache(self, layer: LayerCard) -> int:
        tokens = cache_tokens(self.context)
        if layer.kv_window:
            tokens = windowed_tokens(layer.kv_window, self.context, self.prefill_chunk)
        return tokens * layer.kv_bytes_per_token + layer.state_bytes_per_sequence

    def _step_bytes(self) -> int:
        card = self.card
        rows = max(self.prefill_chunk, self.sequences)
        kind = SAME_AS.get(card.architecture, card.architecture)
        scores = 2 if kind in _TWO_SCORES else 1
        if self.kv_bits:  # mlx-lm masks scores over such caches in an array of its own
            scores += 1
        numbers = _HIDDEN_ARRAYS * card.hidden_size + _MLP_ARRAYS * card.mlp_width
        numbers += scores * card.attention_heads * self.context
        mask = rows * self.context
        mixer = 0
        if kind in _MIXERS:
            largest = max(layer.state_bytes_per_sequence for layer in card.layers)
            mixer = min(rows, _MIXER_STEP) * largest
        return rows * numbers * ITEM_BYTES.get(card.dtype, 4) + mask + mixer


def _sums(sizes: Iterable[int]) -> tuple[int, ...]:
    """Sums of the first 0, 1, 2, ... sizes."""
    return tuple(accumulate(sizes, initial=0))

"""A token's bytes for the three ways in which vocabularies write them."""

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteFallback, Decoder, Fuse, Replace, Sequence, Strip
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from ringcore.gateway.text import Text
from ringcore.gateway.token_bytes import TokenBytes

TEXTS = ["the quick fox", " größer\n\t— 日本語 🦊👩‍👩‍👧", "\x00\x7f\u00a0\u00ad <0x41> \u2581"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_all_tokens_are_the_texts(model: Path, text: str) -> None:
    loaded = Text.load(model)
    tokens = loaded.encode(text, special=False)
    assert b"".join(map(loaded.token_bytes, tokens)) == text.encode()


def test_every_byte_there_is_has_its_token(model: Path) -> None:
    token_bytes = Text.load(model).token_bytes
    assert {token_bytes(token) for token in range(320)} >= {bytes([byte]) for byte in range(256)}


def test_a_special_token_is_its_own_text_and_no_token_is_nothing(model: Path) -> None:
    token_bytes = Text.load(model).token_bytes
    assert token_bytes(1) == b"<|im_end|>"
    assert token_bytes(320) == token_bytes(1 << 30) == b""


def sentencepiece(decoder: Decoder) -> TokenBytes:
    vocabulary = {"<unk>": 0, "<0xF0>": 1, "\u2581fox": 2, "<0x0A>": 3, "größer": 4, "\u2581": 5}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    return TokenBytes(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def test_byte_tokens_and_spaces_of_sentencepiece_are_read() -> None:
    decoder = Sequence([Replace("\u2581", " "), ByteFallback(), Fuse(), Strip(" ", 1, 0)])
    token_bytes = sentencepiece(decoder)
    found = [token_bytes(token) for token in (1, 2, 3, 4, 5, 6)]
    assert found == [b"\xf0", b" fox", b"\n", "größer".encode(), b" ", b"</s>"]


def test_a_byte_level_decoder_is_found_in_a_sequence_of_others() -> None:
    token_bytes = sentencepiece(Sequence([ByteLevelDecoder(), Fuse()]))
    assert token_bytes(4) == b"gr\xf6\xdfer"  # one character for each byte

"""Whole characters only, and no text lost, whatever the decoder does with what stands before."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models

from ringcore.gateway.detokenize import Detokenizer
from tests.gateway.small_tokenizer import write_tokenizer


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = write_tokenizer(tmp_path_factory.mktemp("detokenize"))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def sentencepiece_like() -> Tokenizer:
    """Byte fallback, and a decoder that strips the space in front of the very first word, as Llama 2's."""
    words = ["▁the", "▁fox", "x", "▁", "."]
    vocabulary = {"<s>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    vocabulary |= {word: 257 + at for at, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def pieces(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    detokenizer = Detokenizer(lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True))
    return [*(detokenizer.push(token) for token in tokens), detokenizer.flush()]


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_the_pieces_of_a_text_are_the_text_in_whole_characters(byte_level: Tokenizer, text: str) -> None:
    found = pieces(byte_level, byte_level.encode(text).ids)
    assert "".join(found) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in found)


@given(data=st.lists(st.integers(0, 319), max_size=40))
def test_any_tokens_give_text_that_ends_as_the_whole_does(byte_level: Tokenizer, data: list[int]) -> None:
    found = "".join(pieces(byte_level, data))
    whole = byte_level.decode(data, skip_special_tokens=True)
    if "\ufffd" not in whole:
        assert found == whole
    else:  # where bytes are no characters, how many signs stand for them is free
        assert found.rstrip("\ufffd")[-5:] == whole.rstrip("\ufffd")[-5:]


@given(text=st.lists(st.sampled_from(["▁the", "▁fox", "x", "▁", ".", "ö", "€", "🦊", "<s>"]), max_size=30))
def test_spaces_and_bytes_survive_a_decoder_that_looks_back(text: list[str]) -> None:
    tokenizer = sentencepiece_like()
    tokens: list[int] = []
    for part in text:
        known = tokenizer.token_to_id(part)
        tokens += [known] if known is not None else [byte + 1 for byte in part.encode()]
    assert "".join(pieces(tokenizer, tokens)) == tokenizer.decode(tokens, skip_special_tokens=True)


def test_text_comes_with_its_token_and_a_character_with_its_last_byte(byte_level: Tokenizer) -> None:
    fox = byte_level.encode("🦊").ids
    assert len(fox) == 4
    assert pieces(byte_level, [*byte_level.encode("x").ids, *fox]) == ["x", "", "", "", "🦊", ""]


def test_a_run_of_bytes_that_are_no_character_is_let_go_after_a_while(byte_level: Tokenizer) -> None:
    first_byte = byte_level.encode("🦊").ids[0]
    found = pieces(byte_level, [first_byte] * 20)
    assert any(found[:10])
    assert set("".join(found)) == {"\ufffd"}


def test_special_tokens_leave_no_trace(byte_level: Tokenizer) -> None:
    assert "".join(pieces(byte_level, [0, *byte_level.encode("fox").ids, 1])) == "fox"

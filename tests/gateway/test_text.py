"""The model's tokenizer as its folder has it: templates from either file, special tokens, end tokens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ringcore.gateway.errors import ApiFault
from ringcore.gateway.text import Text
from ringcore.spec.errors import PlanError
from tests.gateway.small_tokenizer import write_tokenizer

HI = [{"role": "user", "content": "hi"}]


def decode_all(text: Text, tokens: list[int]) -> str:
    """With special tokens shown."""
    return str(text._backend.decode(tokens, skip_special_tokens=False))


def tokens_of(text: Text, messages: list[dict[str, str]]) -> list[int]:
    """A chat as the gateway sends it to the ring."""
    return text.encode(text.render_chat(messages), special=False)


@pytest.mark.parametrize("tokenizer_class", ["PreTrainedTokenizerFast", "TokenizersBackend", None])
def test_a_chat_goes_through_the_template_with_special_tokens_as_single_ids(
    tmp_path: Path, tokenizer_class: str | None
) -> None:
    text = Text.load(write_tokenizer(tmp_path, tokenizer_class=tokenizer_class))
    tokens = tokens_of(text, HI)
    assert decode_all(text, tokens) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokens.count(0) == 2
    assert tokens.count(1) == 1
    assert text.decode([0, *text.encode("fox", special=False), 1]) == "fox"


def test_a_template_in_a_file_of_its_own_is_found(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path, chat_template=None)
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }} of a file")
    text = Text.load(folder)
    assert decode_all(text, tokens_of(text, HI)) == "hi of a file"


def test_without_a_template_chats_are_refused_and_completions_named(tmp_path: Path) -> None:
    text = Text.load(write_tokenizer(tmp_path, chat_template=None))
    with pytest.raises(ApiFault, match="/v1/completions"):
        tokens_of(text, HI)
    assert text.encode("fox", special=True)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system here') }}",
        "{{ messages[0].nothing.at.all }}",
        "{% if %}",
        "{{ 1 // (messages | length - 1) }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_that_refuses_or_is_wrong_is_the_clients_error(tmp_path: Path, template: str) -> None:
    text = Text.load(write_tokenizer(tmp_path, chat_template=template))
    with pytest.raises(ApiFault, match="chat template refuses") as caught:
        tokens_of(text, HI)
    assert caught.value.status == 400


def test_a_template_cannot_reach_out_of_its_sandbox(tmp_path: Path) -> None:
    escape = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    text = Text.load(write_tokenizer(tmp_path, chat_template=escape))
    with pytest.raises(ApiFault, match="chat template refuses"):
        tokens_of(text, HI)


def test_end_tokens_come_from_all_files_that_name_some(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": [7, 8]}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 9}))
    assert Text.load(folder).end_tokens == {1, 7, 8, 9}


def test_a_cut_that_the_file_asks_for_is_not_made(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {
        "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content))
    text = Text.load(folder)
    assert text.decode(text.encode("the quick brown fox jumps", special=True)) == "the quick brown fox jumps"


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = write_tokenizer(
        tmp_path, tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Own", "own.Own"]}
    )
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(PlanError):
        Text.load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nowhere"):
        Text.load(tmp_path / "nowhere")


def test_a_plain_tokenizer_is_loaded_without_the_table_of_all_models(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    code = (
        "import sys; from pathlib import Path; from ringcore.gateway.text import Text; "
        f"Text.load(Path({str(folder)!r})); "
        "print([m for m in ('transformers.models.auto.modeling_auto', 'torch', 'mlx', "
        "'transformers.models.auto.tokenization_auto') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_demo_models_words_survive_and_its_template_ends_where_the_assistant_speaks(
    demo_model_path: Path,
) -> None:
    text = Text.load(demo_model_path)
    tokens = tokens_of(text, [{"role": "user", "content": "Größe 🦊?"}])
    shown = decode_all(text, tokens)
    assert shown.endswith("<|im_start|>user\nGröße 🦊?<|im_end|>\n<|im_start|>assistant\n")
    assert text.end_tokens == {2}
    assert text.decode(text.encode("Größe 🦊 1234", special=False)) == "Größe 🦊 1234"

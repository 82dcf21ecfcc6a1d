"""``python -m ringcore card``: one JSON line, whatever the folder is like, and no mlx for it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ringcore.checkpoint.command import main, read_card
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import Failure
from tests.models.small import build


def card(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(list(arguments))
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.endswith("\n")
    return code, json.loads(out)


def failure(told: dict[str, Any]) -> Failure:
    assert told["ok"] is False
    return msgspec.convert(told["failure"], Failure)


def test_the_command_answers_with_the_card(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "small", layers=3)
    ran = subprocess.run(
        [sys.executable, "-m", "ringcore", "card", str(folder), "--dtype", "float16"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    assert told["ok"] is True
    assert msgspec.convert(told["card"], ModelCard) == read_card(folder, "float16")


def test_the_command_needs_neither_mlx_nor_numpy(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "small", layers=2)
    code = (
        "import sys\n"
        "for name in ('mlx', 'mlx.core', 'mlx_lm', 'numpy', 'safetensors', 'transformers', 'psutil'):\n"
        "    sys.modules[name] = None\n"
        "from ringcore.processes import main\n"
        f"sys.argv = ['ringcore', 'card', {str(folder)!r}]\n"
        "sys.exit(main())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_card_says_what_the_config_says(tmp_path: Path) -> None:
    found = read_card(build("llama", tmp_path / "small", layers=3), "stored")
    assert (found.name, found.architecture, len(found.layers)) == ("small", "llama", 3)
    assert (found.hidden_size, found.vocab_size, found.max_context) == (64, 200, 1024)
    assert (found.attention_heads, found.mlp_width, found.tied) == (4, 128, True)
    assert (found.dtype, found.quantization) == ("float32", "")


def test_a_folder_that_is_not_there_is_an_impossible_model(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, told = card(capsys, str(tmp_path / "none"))
    assert code == failure(told).exit_code == 5
    assert "is not there" in failure(told).cause and "correct `model`" in failure(told).remedy


def test_a_file_instead_of_a_folder_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    code, told = card(capsys, str(tmp_path / "model.gguf"))
    assert code == 5 and "is a file" in failure(told).cause


@pytest.mark.parametrize(
    ("config", "told"),
    [(None, "no config.json"), ("{", "not valid JSON"), ("[]", "no JSON object"), ("{}", "architecture")],
)
def test_a_config_that_is_none_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, config: str | None, told: str
) -> None:
    folder = build("llama", tmp_path / "small", layers=2)
    (folder / "config.json").unlink()
    if config is not None:
        (folder / "config.json").write_text(config)
    code, answer = card(capsys, str(folder))
    assert code == 5 and told in failure(answer).cause and failure(answer).remedy


def test_damaged_weights_are_told_by_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "small", layers=2)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, told = card(capsys, str(folder))
    assert code == 5 and str(weights) in failure(told).cause and "cut short" in failure(told).cause


def test_a_tilde_is_the_home_of_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("llama", tmp_path / "models" / "small", layers=2)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_card(Path("~/models/small"), "stored").name == "small"


def test_an_unknown_dtype_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), "--dtype", "int3"])
    assert caught.value.code == 2 and "bfloat16" in capsys.readouterr().err

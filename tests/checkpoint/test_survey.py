"""The survey of a model folder as hosts run it: sent as text, one JSON line, whatever the folder is like."""

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from ringcore.checkpoint.survey import main
from ringcore.spec.errors import PlanError
from tests.checkpoint.files import read_card
from tests.models.small import build


def told(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, Any]:
    assert main([str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.endswith("\n")
    answer: dict[str, Any] = json.loads(out)
    assert answer["ok"] or answer["remedy"]
    return answer


def test_the_text_of_the_module_runs_alone_in_an_interpreter_without_packages(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "small", layers=3)
    text = resources.files("ringcore.checkpoint").joinpath("survey.py").read_text()
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", text, str(folder)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    answer = json.loads(ran.stdout)
    assert answer["ok"] is True
    assert answer["config"]["model_type"] == "llama"
    assert ["model.norm.weight", "F32", [64], 256] in answer["tensors"]


def test_a_card_says_what_the_config_says(tmp_path: Path) -> None:
    found = read_card(build("llama", tmp_path / "small", layers=3), "stored")
    assert (found.name, found.architecture, len(found.layers)) == ("small", "llama", 3)
    assert (found.hidden_size, found.vocab_size, found.max_context) == (64, 200, 1024)
    assert (found.attention_heads, found.mlp_width, found.tied) == (4, 128, True)
    assert (found.dtype, found.quantization) == ("float32", "")


def test_a_folder_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer = told(capsys, tmp_path / "none")
    assert "is not there" in answer["cause"] and "correct `model`" in answer["remedy"]


def test_a_file_instead_of_a_folder_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert "is a file" in told(capsys, tmp_path / "model.gguf")["cause"]


@pytest.mark.parametrize(
    ("config", "words"),
    [(None, "no config.json"), ("{", "not valid JSON"), ("[]", "no JSON object")],
)
def test_a_config_that_is_none_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, config: str | None, words: str
) -> None:
    folder = build("llama", tmp_path / "small", layers=2)
    (folder / "config.json").unlink()
    if config is not None:
        (folder / "config.json").write_text(config)
    assert words in told(capsys, folder)["cause"]


def test_a_config_without_an_architecture_makes_no_card(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "small", layers=2)
    (folder / "config.json").write_text("{}")
    with pytest.raises(PlanError, match="architecture"):
        read_card(folder, "stored")


def test_damaged_weights_are_told_by_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "small", layers=2)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    cause = told(capsys, folder)["cause"]
    assert str(weights) in cause and "cut short" in cause


def test_a_tilde_is_the_home_of_whoever_asks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("llama", tmp_path / "models" / "small", layers=2)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert told(capsys, Path("~/models/small"))["ok"]

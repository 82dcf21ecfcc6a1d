"""`mlxring models` from outside: the table for people and for programs."""

import json

import pytest

from console.cli import main
from ringcore.planning.architectures import REFUSED, UNKNOWN, VERIFIED
from ringcore.planning.kv_bits import WITHOUT


def test_every_architecture_is_listed_with_its_status_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = {tuple(line.split(maxsplit=2)[:2]) for line in lines}
    assert {(name, "verified") for name in VERIFIED} <= told
    assert any("gemma3n" in line and REFUSED["gemma3n"] in line for line in lines)
    assert lines[-1] == f"{len(VERIFIED)} verified, {len(REFUSED)} refused, {len(UNKNOWN)} unknown"


@pytest.mark.parametrize(
    ("status", "names"), [("verified", VERIFIED), ("refused", REFUSED), ("unknown", UNKNOWN)]
)
def test_one_status_can_be_asked_for_as_json(
    status: str, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--json", "--only", status]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sorted(row["name"] for row in answer["architectures"]) == sorted(names)
    assert {row["status"] for row in answer["architectures"]} == {status}
    assert answer["same_as"]["mistral"] == "llama"


def test_an_unknown_status_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["models", "--only", "perhaps"])
    assert caught.value.code == 2
    assert "verified" in capsys.readouterr().err


def test_it_says_which_architectures_keep_no_caches_in_few_bits_and_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["models"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert lines["deepseek_v3"].endswith(f"no kv_bits: {WITHOUT['deepseek_v3']}")
    assert "kv_bits" not in lines["llama"]
    main(["models", "--json"])
    assert json.loads(capsys.readouterr().out)["without_kv_bits"] == WITHOUT

"""What the facts say of a ring's links is told by `check`, and by `plan` beside its answer."""

import json
from pathlib import Path

import pytest

from console.cli import main
from console.cluster import operator
from console.cluster.links import Note
from tests.models.small import build

NOTE = Note(
    "h1", "would use Wi-Fi en0; Thunderbolt bridge 192.168.5.2 is also there", "to use it, write \x1b[2J it"
)
SHOWN = "h1 would use Wi-Fi en0; Thunderbolt bridge 192.168.5.2 is also there; to use it, write"


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(operator, "notes", lambda _profile, _facts: (NOTE,))
    model = build("llama", tmp_path / "toy")
    hosts = "".join(f'[[hosts]]\nname = "h{n}"\nssh = "local"\naddress = "127.0.0.1"\n' for n in range(2))
    path = tmp_path / "ring.toml"
    path.write_text(f'name = "t"\nmodel = "{model}"\n[ring]\ncontext = 64\nprefill_chunk = 16\n{hosts}')
    return str(path)


def test_check_answers_with_the_notes_and_plan_says_them_on_stderr(
    profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", profile]) == 0
    out, _ = capsys.readouterr()
    assert SHOWN in out and "\x1b" not in out
    assert main(["check", profile, "--json"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["network"]
    assert note["host"] == "h1" and note["text"] == NOTE.text
    assert main(["plan", profile]) == 0
    out, err = capsys.readouterr()
    assert SHOWN in err and "\x1b" not in err and SHOWN not in out

"""A ring whose hosts have no model: it is sent to them, or fetched from a hub, and only what is missing."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.fake_hub import serving
from tests.whole.harness import Operator, Ran

pytestmark = pytest.mark.slow
CAPITAL = ("chat", "-p", "Name the capital of France.")
SENT = re.compile(r"^(\S+) .*sent ([0-9.]+) MiB of the ([0-9.]+) MiB that its layers take", re.MULTILINE)


def comes_up(operator: Operator) -> Ran:
    up = operator.run("up")
    assert up.code == 0, up.err
    chat = operator.run(*CAPITAL)
    assert chat.code == 0 and "Paris" in chat.out, chat.err
    assert operator.run("down").code == 0
    return up


def layers(operator: Operator) -> dict[str, set[int]]:
    """The numbers of the layers that each host has files of."""
    found: dict[str, set[int]] = {}
    for path in operator.folder.rglob("model-layer-*.safetensors"):
        host = next(name for name in (host["name"] for host in operator.hosts) if f"/{name}/" in str(path))
        found.setdefault(host, set()).add(int(path.stem[-4:]))
    return found


def test_pushed_weights_serve_and_another_split_sends_only_what_moved(
    operator_with: Callable[..., Operator],
) -> None:
    operator = operator_with(top={"weights": "push"}, ring={"layers": [15, 15]})
    up = comes_up(operator)
    assert layers(operator) == {"h0": set(range(15, 30)), "h1": set(range(15))}
    for _, sent, share in SENT.findall(up.err):
        assert sent == share
    assert len(SENT.findall(up.err)) == 2

    operator.ring["layers"] = [17, 13]
    operator.write()
    up = comes_up(operator)
    ((host, sent, share),) = SENT.findall(up.err)
    assert host == "h0" and float(sent) < 0.15 * float(share)
    assert "nothing to send" in up.err
    assert layers(operator)["h0"] == set(range(13, 30))
    operator.nothing_is_left()


def test_a_hub_is_asked_by_each_host_for_the_files_of_its_layers(
    operator_with: Callable[..., Operator], demo_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("owner/SmolLM2", demo_model_path) as hub:
        monkeypatch.setattr(
            Operator,
            "environment",
            property(lambda self, was=Operator.environment.fget: was(self) | {"HF_ENDPOINT": hub.url}),
        )
        operator = operator_with()
        operator.top = {"model": "owner/SmolLM2"}
        operator.write()
        plan = operator.run("plan", "--json")
        assert plan.code == 0, plan.err
        assert json.loads(plan.out)["model"] == "SmolLM2"
        comes_up(operator)
        assert (
            hub.fetched()["model.safetensors"] >= 2 * (demo_model_path / "model.safetensors").stat().st_size
        )
    operator.nothing_is_left()


def test_without_a_folder_on_a_host_the_one_here_is_sent_and_another_hosts_own_is_used(
    operator_with: Callable[..., Operator], demo_model_path: Path
) -> None:
    operator = operator_with()
    operator.top = {"model": "~/models/smol"}
    operator.write()
    here = operator.folder / "home" / "models"
    here.mkdir()
    (here / "smol").symlink_to(demo_model_path)
    operator.hosts[1]["model"] = str(demo_model_path)
    operator.write()
    comes_up(operator)
    assert set(layers(operator)) == {"h0"}

"""Which way each host comes by its weights: as the profile says, or by itself from where the model is."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import structs

from console.cluster.provision import Prepared
from console.cluster.ssh import SshHost
from console.cluster.weights import Weights
from ringcore.planning.plan import make_plan
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError, ProvisionError
from ringcore.spec.plan import Plan
from ringcore.spec.profile import HostOptions, Profile
from tests.cluster.fake_hub import serving
from tests.cluster.reach import Heard, options
from tests.cluster.test_model import HERE
from tests.models.small import build


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build("llama", tmp_path / "here" / "toy")


class Trial:
    """One host of a ring of one, and what became of its weights."""

    def __init__(
        self, host: SshHost, tmp_path: Path, environment: Mapping[str, str] | None = None, **profile: str
    ) -> None:
        self.host = host
        self.home = tmp_path / "home"
        self.heard = Heard()
        self.profile = Profile(name="r", hosts=(host.options,), **profile)  # type: ignore[arg-type]
        self.weights = Weights(self.profile, self.heard, tmp_path / "cache", environment or {})
        self.facts = structs.replace(HERE, host=host.options.name, home=str(self.home))

    async def card(self) -> ModelCard:
        return await self.weights.card(self.host, self.facts, "", "float32")

    async def place(self) -> Path:
        prepared = Prepared(str(self.home / "ours"), sys.executable, "")
        return Path(await self.weights.place(self.host, prepared, self.plan(await self.card())))

    def plan(self, card: ModelCard) -> Plan:
        ring = structs.replace(self.profile.ring, context=64, prefill_chunk=16)
        return make_plan(card, structs.replace(self.profile, ring=ring), [self.facts], {})


def with_options(host: SshHost, **changes: str) -> SshHost:
    host.options = HostOptions(**(structs.asdict(options()) | changes))
    return host


async def test_a_folder_on_the_host_is_used_where_it_is(host: SshHost, tmp_path: Path, model: Path) -> None:
    trial = Trial(host, tmp_path, model=str(model))
    assert await trial.place() == model
    assert not (trial.home / "ours").exists()


async def test_without_one_there_the_one_here_is_sent(
    host: SshHost, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    trial = Trial(host, tmp_path, model="~/toy")
    folder = await trial.place()
    assert folder.parent == trial.home / "ours" / "models" and folder.name.startswith("toy-")
    assert (folder / "config.json").is_file() and list(folder.glob("model-layer-*.safetensors"))
    assert trial.heard.steps[-1].detail.startswith("sent ")
    assert await trial.place() == folder
    assert trial.heard.steps[-1].detail.startswith("nothing to send: all ")


async def test_with_path_written_nothing_is_sent_and_the_remedy_tells_of_sending(
    host: SshHost, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    with pytest.raises(PlanError, match="is not there") as caught:
        await Trial(host, tmp_path, model="~/toy", weights="path").card()
    assert caught.value.failure.host == "h1" and 'weights = "push"' in caught.value.failure.remedy


async def test_with_push_written_the_hosts_own_folder_does_not_count_but_its_own_key_does(
    host: SshHost, tmp_path: Path, model: Path
) -> None:
    pushed = Trial(host, tmp_path, model=str(model), weights="push")
    assert await pushed.place() != model
    other = build("llama", tmp_path / "other" / "toy")
    own = Trial(with_options(host, model=str(other)), tmp_path, model=str(model), weights="push")
    assert await own.place() == other


async def test_a_repository_is_fetched_by_the_host(host: SshHost, tmp_path: Path, model: Path) -> None:
    with serving("owner/toy", model) as hub:
        trial = Trial(host, tmp_path, {"HF_ENDPOINT": hub.url}, model="owner/toy")
        folder = await trial.place()
    assert (folder / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


async def test_before_anything_is_moved_it_is_said_how_much_would_be(
    host: SshHost, tmp_path: Path, model: Path
) -> None:
    pushed = Trial(host, tmp_path, model=str(model), weights="push")
    (stage,) = pushed.plan(await pushed.card()).stages
    assert re.fullmatch(r"gets its weights from this machine: [0-9.]+ [KM]iB", pushed.weights.intended(stage))
    there = Trial(host, tmp_path, model=str(model))
    await there.card()
    assert there.weights.intended(stage) == ""
    with serving("owner/toy", model) as hub:
        fetched = Trial(host, tmp_path, {"HF_ENDPOINT": hub.url}, model="owner/toy")
        await fetched.card()
        assert f"from {hub.url}: 2 files, " in fetched.weights.intended(stage)
    assert not (pushed.home / "ours").exists()


async def test_a_model_that_was_replaced_while_the_console_was_open_is_read_again(
    host: SshHost, tmp_path: Path, model: Path
) -> None:
    pushed = Trial(host, tmp_path, model=str(model), weights="push")
    before = await pushed.card()
    build("llama", model, layers=3)
    after = await pushed.card()
    assert len(after.layers) == 3 != len(before.layers)


async def test_a_model_that_goes_away_here_meanwhile_is_told_with_its_file(
    host: SshHost, tmp_path: Path, model: Path
) -> None:
    trial = Trial(host, tmp_path, model=str(model), weights="push")
    plan = trial.plan(await trial.card())
    (model / "model.safetensors").unlink()
    with pytest.raises(ProvisionError, match=r"model.safetensors on this machine cannot be read") as caught:
        await trial.weights.place(host, Prepared(str(trial.home / "ours"), sys.executable, ""), plan)
    assert caught.value.failure.host == "h1"

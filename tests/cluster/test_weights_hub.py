"""A model on a hub: its card without its weights, and on each host only the files that hold its layers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cluster.hub import HubModel, read_hub
from console.cluster.ssh import SshHost
from console.cluster.weights_hub import Fetch
from ringcore.checkpoint.survey import Tensor, survey
from ringcore.models.load import check_resident, load_stage
from ringcore.planning.card import make_card
from ringcore.spec.errors import PlanError, ProvisionError
from ringcore.spec.plan import Stage
from ringcore.spec.shard import Shard
from tests.cluster.fake_hub import COMMIT, FakeHub, serving
from tests.cluster.reach import Heard
from tests.models.small import build

REPOSITORY = "owner/toy-4bit"
LAYERS = 5


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build("llama", tmp_path_factory.mktemp("hub") / "toy", files=4)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"x" * 50_000)
    return folder


@pytest.fixture
def hub(published: Path) -> Iterator[FakeHub]:
    with serving(REPOSITORY, published) as server:
        yield server


async def read(hub: FakeHub, model: str = REPOSITORY) -> HubModel:
    return await read_hub(model, {"HF_ENDPOINT": hub.url})


def stage(start: int, end: int, rank: int = 1) -> Stage:
    sizes = dict.fromkeys(
        ("weight_bytes", "kv_bytes", "workspace_bytes", "reserve_bytes", "ceiling_bytes"), 0
    )
    return Stage(rank=rank, host="h1", shard=Shard(start, end, LAYERS), ceiling_source="", **sizes)


async def test_the_card_of_a_repository_is_that_of_its_folder_and_no_weights_were_read(
    hub: FakeHub, published: Path
) -> None:
    found = await read(hub, f"{REPOSITORY}@v1")
    folder = survey(published)
    tensors = [Tensor(*entry) for entry in folder["tensors"]]
    card = make_card("toy-4bit", found.config, found.tensors, "float32")
    assert card == make_card("toy-4bit", folder["config"], tensors, "float32")
    assert found.revision == COMMIT
    weights = {name: size for name, size in hub.fetched().items() if name.endswith(".safetensors")}
    assert len(weights) == 4 and all(size <= 1 << 16 for size in weights.values())


async def test_a_host_fetches_the_files_of_its_layers_only_and_a_rank_loads_them(
    hub: FakeHub, host: SshHost, tmp_path: Path, published: Path
) -> None:
    found = await read(hub)
    hub.asked.clear()
    there, heard = tmp_path / "home" / "models" / "toy", Heard()
    fetch = Fetch(host, sys.executable, str(there), heard)
    await fetch.run(found, stage(0, 2))
    wanted, index = found.share(stage(0, 2))
    assert hub.fetched() == {name: file.size for name, file in wanted.items()}
    assert "model-00004-of-00004.safetensors" not in wanted and "tokenizer.json" not in wanted
    loaded = load_stage(there, Shard(0, 2, LAYERS), dtype="float32", on_progress=lambda _share, _text: None)
    check_resident(loaded, sum(each.nbytes for each in found.tensors if each.name in index), tolerance=0)
    for name in wanted:
        assert (there / name).read_bytes() == (published / name).read_bytes()
    assert heard.steps[0].command.startswith("fetching owner/toy-4bit")

    assert heard.steps[-1].detail.endswith(f"from {hub.url}")
    hub.asked.clear()
    await fetch.run(found, stage(0, 2))
    assert not hub.asked and heard.steps[-1].detail == "nothing to fetch"
    await fetch.run(found, stage(2, 5, rank=0))
    assert "tokenizer.json" in hub.fetched()
    assert not set(hub.fetched()) & set(wanted)


async def test_a_file_that_is_not_what_the_hub_says_is_not_kept(
    hub: FakeHub, host: SshHost, tmp_path: Path
) -> None:
    found = await read(hub)
    hub.damaged = found.places["model.embed_tokens.weight"]
    there = tmp_path / "home" / "models" / "toy"
    with pytest.raises(ProvisionError, match="is not what the hub says it holds") as caught:
        await Fetch(host, sys.executable, str(there), Heard()).run(found, stage(0, 2))
    assert caught.value.failure.host == "h1" and "again" in caught.value.failure.remedy
    assert not (there / hub.damaged).exists()


@pytest.mark.slow  # the client tries again and again
async def test_a_hub_that_is_gone_before_the_host_fetches_is_told_with_host_and_file(
    published: Path, host: SshHost, tmp_path: Path
) -> None:
    with serving(REPOSITORY, published) as hub:
        found = await read(hub)
    with pytest.raises(ProvisionError, match="cannot be fetched") as caught:
        await Fetch(host, sys.executable, str(tmp_path / "home" / "toy"), Heard()).run(found, stage(0, 2))
    assert "reaches the hub" in caught.value.failure.remedy


async def test_no_network_an_unknown_repository_and_a_closed_one_are_three_messages(
    hub: FakeHub, published: Path
) -> None:
    with pytest.raises(PlanError, match="has no owner/other"):
        await read(hub, "owner/other")
    hub.status = 403
    with pytest.raises(PlanError, match="does not show") as caught:
        await read(hub)
    assert "HF_TOKEN" in caught.value.failure.remedy
    with serving(REPOSITORY, published) as gone:
        pass
    with pytest.raises(PlanError, match="cannot be reached from this machine") as caught:
        await read(gone)
    assert "path of a folder" in caught.value.failure.remedy


async def test_a_password_in_the_address_of_a_hub_is_shown_to_nobody(hub: FakeHub) -> None:
    address = hub.url.replace("://", "://me:word@")
    assert "word" not in (await read_hub(REPOSITORY, {"HF_ENDPOINT": address})).shown
    hub.status = 500
    with pytest.raises(PlanError, match="answers with status 500") as caught:
        await read_hub(REPOSITORY, {"HF_ENDPOINT": address})
    assert "word" not in str(caught.value) and "127.0.0.1" in str(caught.value)


async def test_a_repository_without_weights_for_mlx_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 2}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with serving(REPOSITORY, tmp_path) as hub:
        with pytest.raises(PlanError, match=r"no model\*\.safetensors"):
            await read(hub)
        (tmp_path / "model.safetensors").write_bytes(b"\x20" + bytes(7) + b"{")
        with pytest.raises(PlanError, match="no model that can be used"):
            await read(hub)


async def test_an_index_that_names_a_file_which_is_not_there_says_which(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "toy", files=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with (
        serving(REPOSITORY, folder) as hub,
        pytest.raises(
            PlanError, match=r"its index names model-00002-of-00002\.safetensors, which it has not"
        ),
    ):
        await read(hub)


async def test_a_token_is_shown_to_the_hub_alone_and_a_line_end_behind_it_does_not_count(
    hub: FakeHub,
) -> None:
    await read_hub(REPOSITORY, {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret\n"})
    with pytest.raises(PlanError, match="HF_TOKEN holds what no token has") as caught:
        await read_hub(REPOSITORY, {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_se\ncret"})
    assert "cret" not in str(caught.value)

"""The model as the hosts have it: where it lies, its dtype, its card, and whether all have the same."""

import sys
from pathlib import Path

import msgspec
import pytest

from console.cluster.model import read_card, ring_dtype, same_model
from console.cluster.ssh import SshHost
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import PythonFound
from ringcore.spec.profile import Profile, RingOptions
from tests.cluster.reach import options
from tests.cluster.test_needs import FACTS

MAC = msgspec.structs.replace(FACTS, os="darwin")
CARD = ModelCard(
    name="m",
    architecture="llama",
    layers=(LayerCard(1, 1),),
    hidden_size=1,
    vocab_size=1,
    embedding_bytes=1,
    norm_bytes=1,
    head_bytes=1,
    tied=False,
    dtype="float32",
    revision="aaaa",
)
HERE = msgspec.structs.replace(FACTS, pythons=(PythonFound(sys.executable, (3, 11, 7)),))


def profile(model: str, **ring: str) -> Profile:
    return Profile(name="r", model=model, hosts=(options(),), ring=RingOptions(**ring))  # type: ignore[arg-type]


def test_one_linux_host_makes_the_ring_float32_unless_the_profile_says_otherwise() -> None:
    assert ring_dtype(profile("m"), [MAC, MAC]) == "stored"
    assert ring_dtype(profile("m"), [MAC, FACTS]) == "float32"
    assert ring_dtype(profile("m", dtype="bfloat16"), [FACTS]) == "bfloat16"


def test_hosts_with_different_models_are_told_apart_by_name() -> None:
    other = msgspec.structs.replace(CARD, revision="bbbb")
    assert same_model([("one", CARD), ("two", CARD)]) == CARD
    with pytest.raises(PlanError, match=r"three: .* on one \(revision bbbb, there aaaa\)"):
        same_model([("one", CARD), ("two", CARD), ("three", other)])


async def test_the_card_is_read_on_the_host_without_loading_or_installing_anything(
    host: SshHost, demo_model_path: Path, tmp_path: Path
) -> None:
    card = await read_card(host, HERE, str(demo_model_path), "float32", allow_unverified=False)
    assert (card.architecture, len(card.layers), card.dtype) == ("llama", 30, "float32")
    assert not list((tmp_path / "home").iterdir())


async def test_a_folder_of_the_same_name_in_the_users_home_is_not_run(host: SshHost, tmp_path: Path) -> None:
    (tmp_path / "home" / "json").mkdir()
    (tmp_path / "home" / "json" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    with pytest.raises(PlanError) as caught:
        await read_card(host, HERE, "/no/such/model", "float32", allow_unverified=False)
    assert "wrong one" not in str(caught.value)


async def test_a_folder_that_is_not_there_is_a_plan_error_of_that_host(host: SshHost) -> None:
    with pytest.raises(PlanError, match="/no/such/model") as caught:
        await read_card(host, HERE, "/no/such/model", "float32", allow_unverified=False)
    assert caught.value.failure.host == "h1" and caught.value.failure.remedy


async def test_a_card_that_cannot_be_read_quotes_what_was_said(host: SshHost) -> None:
    broken = msgspec.structs.replace(FACTS, pythons=(PythonFound("/bin/ls", (3, 12, 0)),))
    with pytest.raises(PlanError, match=r"broke off: (.|\n)*No such file") as caught:
        await read_card(host, broken, "/m", "float32", allow_unverified=False)
    assert caught.value.failure.host == "h1"


@pytest.mark.parametrize(
    "said", ['{"ok": true, "tensors": [1], "config": {}}', '{"ok": "yes"}', "[]", "{}", "[" * 9999]
)
async def test_an_answer_that_makes_no_sense_is_told_as_one_that_broke_off(host: SshHost, said: str) -> None:
    speaking = msgspec.structs.replace(FACTS, pythons=(PythonFound("/bin/echo", (3, 12, 0)),))
    with pytest.raises(PlanError, match="broke off"):  # the path is the last line of what it says
        await read_card(host, speaking, f"\n{said}", "float32", allow_unverified=False)

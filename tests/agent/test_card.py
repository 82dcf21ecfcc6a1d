"""A rank sees the card that the plan gave it and no other, whatever its host's own environment says."""

import sys
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from ringcore.agent.card import card_variables
from ringcore.agent.journal import Journal
from ringcore.agent.supervisor import Supervisor
from ringcore.spec.deployment import Deployment, Member
from tests.ring.harness import make_plan


def deployment(rank: int, *gpus: int | None) -> Deployment:
    """Of a ring on one machine whose ranks have these cards."""
    plan = make_plan([1] * len(gpus))
    stages = [structs.replace(stage, gpu=gpu) for stage, gpu in zip(plan.stages, gpus, strict=True)]
    members = tuple(
        Member(rank=number, host=f"h{number}", address="127.0.0.1", link_port=7000 + number)
        for number in range(len(gpus))
    )
    return Deployment(
        ring="t", run_id="1", rank=rank, plan=structs.replace(plan, stages=tuple(stages)), members=members,
        control_port=6999, backend="ring", model_name="m", model_path="/m", api_bind="127.0.0.1",
        api_port=8100,
    )  # fmt: skip


def test_each_rank_is_shown_its_own_card_in_the_order_of_nvidia_smi() -> None:
    for rank, card in ((0, "1"), (1, "0")):
        assert card_variables(deployment(rank, 1, 0)) == {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": card,
        }


def test_a_rank_without_a_card_of_its_own_keeps_what_its_host_shows() -> None:
    assert card_variables(deployment(0, None, 1)) == {}


class Heard:
    """A journal that nobody reads."""

    def append(self, event: Any) -> None:
        pass


async def test_an_agent_starts_its_rank_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "env"
    program.write_text("#!/bin/sh\nexec env\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    supervisor = Supervisor(
        tmp_path, deployment(0, 1, 0), cast(Journal, Heard()),
        lambda _said: None, lambda _failure: None, lambda _agents: None, lambda: None, lambda: None,
    )  # fmt: skip
    await supervisor.start(1)
    assert supervisor.child is not None
    assert await supervisor.child.ended == 0
    await supervisor.end(None)
    seen = {text.split(" ")[-1] for text in (tmp_path / "rank-0.log").read_text().splitlines()}
    assert {"CUDA_VISIBLE_DEVICES=1", "CUDA_DEVICE_ORDER=PCI_BUS_ID"} <= seen

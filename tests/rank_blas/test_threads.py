"""How many threads a rank gets, and that its agent says so."""

import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from ringcore.agent.journal import Journal
from ringcore.agent.supervisor import Supervisor
from ringcore.agent.threads import VARIABLES, cpu_quota, ranks_here, thread_variables, usable_cores
from ringcore.spec.deployment import Deployment, Member
from tests.ring.harness import make_plan

INFINITE = float("inf")


def deployment(*addresses: str, rank: int = 0) -> Deployment:
    members = tuple(
        Member(rank=number, host=f"h{number}", address=address, link_port=7000 + number)
        for number, address in enumerate(addresses)
    )
    return Deployment(
        ring="t", run_id="1", rank=rank, plan=make_plan([1] * len(addresses)), members=members,
        control_port=6999, backend="ring", model_name="m", model_path="/m", api_bind="127.0.0.1",
        api_port=8100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("addresses", "rank", "here"),
    [
        (["10.0.0.1"], 0, 1),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3"], 1, 1),
        (["10.0.0.1", "10.0.0.2", "10.0.0.1"], 2, 2),
        (["127.0.0.1", "127.0.0.1"], 1, 2),
        (["127.0.0.1", "127.0.0.2", "127.8.0.1"], 0, 3),
    ],
)
def test_ranks_with_one_address_share_a_machine(addresses: list[str], rank: int, here: int) -> None:
    assert ranks_here(deployment(*addresses, rank=rank)) == here


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (4, 2), (9, 4), (64, 32)])
def test_two_ranks_on_a_machine_get_half_its_cores_each_and_one_thread_at_least(
    cores: int, threads: int
) -> None:
    chosen = thread_variables(deployment("127.0.0.1", "127.0.0.1"), {}, cores)
    assert chosen == {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "GOTO_NUM_THREADS"])
def test_what_the_operator_has_set_stays(name: str) -> None:
    assert thread_variables(deployment("10.0.0.1"), {name: "3"}, 16) == {}


def test_a_variable_set_to_nothing_is_not_set() -> None:
    assert thread_variables(deployment("10.0.0.1"), {"OMP_NUM_THREADS": ""}, 16)["OMP_NUM_THREADS"] == "16"


def test_cores_outside_the_affinity_mask_do_not_count() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_quota_is_rounded_down_and_threads_of_one_core_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from ringcore.agent import threads

    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _pid: set(range(16)))
    monkeypatch.setattr(threads.psutil, "cpu_count", lambda logical: 16 if logical else 8)
    monkeypatch.setattr(threads, "cpu_quota", lambda: INFINITE)
    assert usable_cores() == 8
    monkeypatch.setattr(threads, "cpu_quota", lambda: 3.9)
    assert usable_cores() == 3
    monkeypatch.setattr(threads, "cpu_quota", lambda: 0.5)
    assert usable_cores() == 1


def groups(folder: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """(the process's list of groups, where they are mounted); ``files`` by path below the mount."""
    for name, text in files.items():
        place = folder / "cgroup" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder / "self", folder / "cgroup"


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/outer/name\n", {"cpu.max": "400000 100000\n"}, 4.0),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, INFINITE),
        ("0::/a\n", {"a/cpu.max": "nonsense\n"}, INFINITE),
        (
            "7:memory:/x\n4:cpu,cpuacct:/x\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, INFINITE),
        ("7:memory:/x\n", {"memory/x/limit": "1\n"}, INFINITE),
    ],
)
def test_the_quota_is_the_smallest_on_the_way_up(
    own: str, files: dict[str, str], quota: float, tmp_path: Path
) -> None:
    listed, mounted = groups(tmp_path, files)
    listed.write_text(own)
    assert cpu_quota(listed, mounted) == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path) == INFINITE


class Heard:
    """A journal that nobody reads."""

    def append(self, event: Any) -> None:
        pass


async def environment_of_a_rank(folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The lines of ``env``, run in a rank's place by the agent of one of two ranks on this machine."""
    program = folder / "env"
    program.write_text("#!/bin/sh\nexec env\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    journal = cast(Journal, Heard())
    supervisor = Supervisor(
        folder, deployment("127.0.0.1", "127.0.0.1"), journal,
        lambda _said: None, lambda _failure: None, lambda _agents: None, lambda: None, lambda: None,
    )  # fmt: skip
    await supervisor.start(1)
    assert supervisor.child is not None
    assert await supervisor.child.ended == 0
    await supervisor.end(None)
    return {text.split(" ")[-1] for text in (folder / "rank-0.log").read_text().splitlines()}


async def test_an_agent_gives_its_rank_its_share_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    share = max(1, usable_cores() // 2)
    assert {f"{name}={share}" for name in VARIABLES} <= await environment_of_a_rank(tmp_path, monkeypatch)


async def test_an_agent_passes_on_what_the_operator_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    seen = await environment_of_a_rank(tmp_path, monkeypatch)
    assert {"OMP_NUM_THREADS=7", "OPENBLAS_CORETYPE=Haswell"} <= seen
    assert not any(line.startswith("OPENBLAS_NUM_THREADS") for line in seen)

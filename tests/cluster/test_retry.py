"""Trying one host again: what failed there is done anew over real SSH, and the other hosts are left alone."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from console.cluster.connect import SshConnector
from console.cluster.host import Host
from console.cluster.operator import Operator
from console.cluster.weights import Weights
from console.cluster.wheelhouse import Wheelhouse
from console.demo.hosts import EmbeddedHosts
from console.logs.actions import ActionLog
from console.reduce import apply
from console.state import ClusterState, initial
from ringcore.spec.errors import HostError, MlxringError, ProvisionError
from ringcore.spec.profile import HostOptions, Profile
from tests.cluster.reach import Heard

PROFILE = Profile(
    name="t",
    model="/nowhere",
    hosts=tuple(
        HostOptions(name=name, ssh="local", address="127.0.0.1", python=sys.executable)
        for name in ("h1", "h2")
    ),
)


class Connector(SshConnector):
    """Refuses the hosts in ``refused``. Counts its connections by host."""

    def __init__(self, root: Path) -> None:
        super().__init__(EmbeddedHosts(root))
        self.refused: set[str] = set()
        self.made: list[str] = []

    async def connect(self, options: HostOptions) -> Host:
        self.made.append(options.name)
        if options.name in self.refused:
            raise HostError("no route", "plug it in", host=options.name)
        return await super().connect(options)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.heard = Heard()
        self.homes = folder
        self.connector = Connector(folder)
        weights = Weights(PROFILE, self.heard, folder / "cache")
        self.operator = Operator(
            PROFILE, self.connector, self.heard, _no_model, Wheelhouse(folder / "wheels"), weights
        )

    @property
    def state(self) -> ClusterState:
        state = initial(PROFILE)
        for record in self.heard.records:
            state = apply(state, record)
        return state


async def _no_model(progress: object) -> str:
    raise AssertionError("nobody asked for the demo model")


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    await rig.operator.close()


async def test_a_host_that_could_not_be_reached_is_reached_and_read_and_the_other_is_left_alone(
    rig: Rig,
) -> None:
    rig.connector.refused.add("h2")
    with pytest.raises(HostError, match="no route"):
        await rig.operator.check()
    failed = rig.state.hosts[1]
    assert failed.failure is not None and failed.failed_step == "reach"

    rig.connector.refused.clear()
    before = len(rig.heard.records)
    await rig.operator.retry("h2", failed.failed_step)
    assert rig.state.hosts[1].failure is None and rig.operator.facts["h2"].host == "h2"
    assert {record.host for record in rig.heard.records[before:]} == {"h2"}
    assert rig.connector.made == ["h1", "h2", "h2"]
    assert [facts.host for facts in await rig.operator.check()] == ["h1", "h2"]
    assert rig.connector.made == ["h1", "h2", "h2"]


async def test_a_connection_that_has_ended_is_not_used_again(rig: Rig) -> None:
    await rig.operator.check()
    connection = rig.operator._hosts.reached["h2"]._connection  # type: ignore[attr-defined]
    connection.abort()
    await connection.wait_closed()
    assert [facts.host for facts in await rig.operator.check()] == ["h1", "h2"]
    assert rig.connector.made == ["h1", "h2", "h2"]


async def test_a_host_that_could_not_be_made_ready_is_once_the_reason_is_gone(rig: Rig) -> None:
    in_the_way = rig.homes / "h2" / ".mlxring"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where our folder would be")
    with pytest.raises(ProvisionError):
        await rig.operator.provision()
    failed = rig.state.hosts[1]
    assert failed.failed_step == "provision" and rig.state.hosts[0].failure is None

    with pytest.raises(ProvisionError):
        await rig.operator.retry("h2", "provision")
    assert rig.state.hosts[1].failure is not None

    in_the_way.unlink()
    await rig.operator.retry("h2", "provision")
    again = rig.state.hosts[1]
    assert again.failure is None and (again.step, again.status) == ("provision", "done")
    assert (in_the_way / "mlxring-home").is_file()
    log = ActionLog()
    for record in rig.heard.records:
        log.take(record)
    told = [line.text for line in log.lines("h2")]
    assert told.count("reach: $ ssh local") == 3 and any("provision: failed" in line for line in told)
    assert told[-1].startswith("provision: done")


async def test_a_host_without_the_model_is_told_again_and_nothing_else_is_asked(rig: Rig) -> None:
    with pytest.raises(MlxringError):
        await rig.operator.plan()
    assert rig.state.hosts[1].failed_step == "weights"
    (rig.homes / "h2").mkdir(exist_ok=True)
    before = len(rig.heard.records)
    with pytest.raises(MlxringError, match="nowhere"):
        await rig.operator.retry("h2", "weights")
    assert {record.host for record in rig.heard.records[before:]} == {"h2"}
    assert rig.state.hosts[1].failed_step == "weights"

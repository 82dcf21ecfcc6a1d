"""A connection cut, a disk full: at each point of the way up, what the operator reads, how it goes on."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from console.cluster.connect import SshConnector
from console.cluster.deploy import start_agent, write_run
from console.cluster.facts import gather_facts
from console.cluster.host import Host
from console.cluster.operator import Operator
from console.cluster.provision import Prepared, provision
from console.cluster.remote import LAUNCHER
from console.cluster.ssh import SshHost, connect
from console.cluster.target import Target
from console.cluster.weights import Weights
from console.cluster.wheelhouse import Wheelhouse
from ringcore.spec.deployment import DEPLOYMENT_FILE, MARKER, SECRET_FILE
from ringcore.spec.errors import HostError, ProvisionError, RingError
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import HostOptions, Profile
from ringcore.spec.units import GIB
from tests.cluster.reach import Heard, options, plain_environment, reached, served
from tests.cluster.test_prepare import OTHER, Asked, deploy
from tests.cluster.test_provision import pretend_pip

OWN = options(python=sys.executable)
LOST = r"h1: the SSH connection was lost while .*\n  remedy: see that the host is on"


class Run(msgspec.Struct):
    """As much of a deployment as its writing needs."""

    ring: str = "t"
    plan: str = ""


async def roomy(host: SshHost) -> HostFacts:
    """The facts of a moment ago, when there was space."""
    return msgspec.structs.replace(await gather_facts(host), disk_free_bytes=100 * GIB)


# a connection that is cut ----------------------------------------------------------------------------
async def test_cut_while_facts_are_read(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", OWN) as host:
        host._connection.abort()
        with pytest.raises(HostError, match="lost while starting /bin/sh"):
            await gather_facts(host)


@pytest.mark.parametrize("at", ["making /", "sending ringcore", "making an environment", "mlx=="])
async def test_cut_while_a_host_is_provisioned_it_goes_on_from_there(tmp_path: Path, at: str) -> None:
    home = tmp_path / "home"
    env = pretend_pip(home, f'echo Collecting mlx==1; [ -e "{tmp_path}/go" ] || sleep 60')
    async with reached(home, env=env) as host:
        heard = Heard()

        def cut(record: object) -> None:
            heard(record)  # type: ignore[arg-type]
            if heard.steps[-1].detail.startswith(at):
                host._connection.abort()

        with pytest.raises(HostError, match=LOST):
            await provision(host, await gather_facts(host), cut)
        assert heard.steps[-1].status == "failed"
    (tmp_path / "go").touch()
    done = {"making /": 0, "sending ringcore": 1}.get(at, 2)
    async with reached(home, env=env) as host:
        prepared = await provision(host, await gather_facts(host), heard := Heard())
        assert len({step.command for step in heard.steps if step.command}) == 3 - done
        assert (await host.run(["test", "-x", prepared.python])).status == 0
        assert not list((home / ".mlxring").glob("*.new"))


async def test_cut_while_the_plan_is_written_leaves_no_launcher(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", OWN) as host:
        prepared = await provision(host, await gather_facts(host), Heard())
        write = host.write

        async def cut(path: str, data: bytes, *, mode: int = 0o644) -> None:
            if path.endswith(SECRET_FILE):
                host._connection.abort()
            await write(path, data, mode=mode)

        host.write = cut  # type: ignore[method-assign]
        with pytest.raises(HostError, match="SSH connection was lost"):
            await write_run(host, prepared, Run(), "s" * 64)  # type: ignore[arg-type]
    run = Path(prepared.home) / "runs" / "t"
    assert [path.name for path in run.iterdir()] == [DEPLOYMENT_FILE]
    async with reached(tmp_path / "home", OWN) as host:
        await write_run(host, prepared, Run(), "s" * 64)  # type: ignore[arg-type]
    assert (run / LAUNCHER).exists()


async def test_cut_while_the_agent_is_started(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", OWN) as host:
        host._connection.abort()
        with pytest.raises(HostError, match=LOST):
            await start_agent(host, "t")


# a disk that is full ---------------------------------------------------------------------------------
async def test_full_before_anything_is_done(tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
    home = small_disk("20m") / "ring"
    async with reached(tmp_path / "home", options(python=sys.executable, home=str(home))) as host:
        with pytest.raises(ProvisionError, match=r"20\.0 MiB free; 32\.0 MiB are needed"):
            await provision(host, await gather_facts(host), Heard())
    assert not home.exists()


async def test_full_while_the_code_arrives(tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
    home = small_disk("96k") / "ring"
    async with reached(tmp_path / "home", options(python=sys.executable, home=str(home))) as host:
        with pytest.raises(ProvisionError, match=r"the disk of .*ring is full: .*No space left") as caught:
            await provision(host, await roomy(host), Heard())
        assert "hosts.home" in caught.value.failure.remedy
    assert [path.name for path in home.iterdir()] == [MARKER]


async def test_full_while_packages_are_installed(tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
    place = small_disk("4m")
    fill = 'dd if=/dev/zero of="${0%/bin/python}/lib" bs=1024 count=8192 2>&1 | grep dd:; exit 1'
    env = pretend_pip(tmp_path / "home", fill)
    async with reached(tmp_path / "home", options(home=str(place / "ring")), env) as host:
        with pytest.raises(
            ProvisionError, match=r"disk became full while packages were installed: .*No space"
        ):
            await provision(host, await roomy(host), Heard())
    assert not list((place / "ring").glob("venv-*/bin")) and not list((place / "ring").glob("*.new"))


async def test_full_while_the_plan_is_written(tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
    place = small_disk("64k")
    (place / "all").write_bytes(b"x" * 60 * 1024)
    prepared = Prepared(f"{place}/ring", sys.executable, f"{place}/code")
    async with reached(tmp_path / "home", OWN) as host:
        with pytest.raises(ProvisionError, match=r"disk of .*ring is full") as caught:
            await write_run(host, prepared, Run(plan="t" * 8000), "s")  # type: ignore[arg-type]
    assert caught.value.failure.host == "h1"


# an agent of another version -------------------------------------------------------------------------
class OneHost(SshConnector):
    """Every host of the profile is one server."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target

    async def connect(self, options: HostOptions) -> Host:
        return await connect(options, self._target)


async def no_model(progress: object) -> str:
    raise AssertionError("the demo's model is not asked for")


async def test_an_agent_of_an_older_version_is_told_apart(tmp_path: Path) -> None:
    server = served(tmp_path / "home", plain_environment(tmp_path / "home"))
    there = options(ssh="op@h1", python=sys.executable)
    profile = Profile(name="t", model="/no/such/model", hosts=(there,))
    operator = Operator(
        profile,
        OneHost(await server.start()),
        Heard(),
        no_model,
        Wheelhouse(tmp_path / "wheels"),
        Weights(profile, Heard(), tmp_path / "cache"),
    )
    operator.confirm = asked = Asked(False)
    line = [sys.executable, "-c", "import time; time.sleep(60)", "ringcore"]
    with subprocess.Popen(line) as agent:  # noqa: ASYNC220
        try:
            await operator.provision()
            home = tmp_path / "home" / ".mlxring"
            deploy(home, OTHER, "0.0.9")
            launcher = home / "runs" / "t" / LAUNCHER
            (launcher.parent / "agent.pid").write_text(f"{agent.pid} 1.0 agent\n")
            with pytest.raises(RingError) as caught:
                await operator.deploy()
            assert agent.poll() is None
        finally:
            agent.kill()
            await operator.close()
            await server.close()
    told = caught.value.failure
    assert "already runs here with ringcore 0.0.9 (code 01234567); this console has" in told.cause
    assert "--yes" in told.remedy
    assert len(asked.questions) == 1
    assert "The ring t runs, and h1 has ringcore 0.0.9 (code 01234567)" in asked.questions[0]

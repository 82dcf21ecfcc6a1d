"""Hosts without a network: this machine fetches the locked packages once and sends what is lacking."""

import asyncio
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.cluster import provision as provisioning
from console.cluster.facts import gather_facts
from console.cluster.lock import lock_hash
from console.cluster.provision import Prepared, provision
from console.cluster.send_wheels import send_wheels
from console.cluster.ssh import SshHost
from console.cluster.wheelhouse import Platform, Wheelhouse, platform_tags
from console.cluster.wheels import lacking_wheels, requirements_for, wheel_of
from ringcore.spec.errors import HostError, ProvisionError
from tests.cluster.reach import Heard, options, plain_environment, reached
from tests.cluster.small_wheels import NEEDED, lock_of, make_wheel
from tests.cluster.test_provision import pretend_pip

HERE = Platform(version=(3, 12, 0), system="linux", machine="x86_64", glibc="2.36")
Locked = Callable[..., bytes]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip finds wheels, and nowhere else."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Locked:
    """Makes the lock file of some wheels the console's."""

    def lock(*wheels: Path) -> bytes:
        text = lock_of(*wheels)
        monkeypatch.setattr(provisioning, "lock_of", lambda _facts: text)
        return text

    return lock


async def offline(host: SshHost, root: Path) -> tuple[Prepared, Heard]:
    heard = Heard()
    facts = await gather_facts(host)
    return await provision(host, facts, heard, wheelhouse=Wheelhouse(root)), heard


def nothing(part: float, text: str) -> None:
    pass


# pure ------------------------------------------------------------------------------------------------
def test_the_requirements_of_one_platform_keep_their_hashes_and_lose_their_markers() -> None:
    text = (
        b"a-b==1.0 \\\n    --hash=sha256:"
        + b"1" * 64
        + b" \\\n    --hash=sha256:"
        + b"2" * 64
        + b"\n    # via c\n"
        b"c==2 ; sys_platform == 'darwin' \\\n    --hash=sha256:" + b"3" * 64 + b"\n"
    )
    linux = requirements_for(text, {"sys_platform": "linux"})
    assert linux == b"a-b==1.0 --hash=sha256:" + b"1" * 64 + b" --hash=sha256:" + b"2" * 64 + b"\n"
    assert b"c==2 --hash=sha256:3" in requirements_for(text, {"sys_platform": "darwin"})


def test_a_wheel_is_known_by_its_name() -> None:
    assert wheel_of("Mlx_Lm-0.1-py3-none-any.whl") == ("mlx-lm", "0.1")
    assert wheel_of("a-1-2-cp311-cp311-macosx_11_0_arm64.whl") == ("a", "1")
    assert wheel_of("notes.txt") == wheel_of("a-1.tar.gz") == ("", "")
    assert lacking_wheels((), ("a-1-py3-none-any.whl",)) == ()


def test_pip_is_told_every_older_platform_that_a_host_takes() -> None:
    tags = platform_tags(HERE)
    assert tags[0] == "manylinux_2_36_x86_64" and "manylinux_2_17_x86_64" in tags
    assert "manylinux2014_x86_64" in tags and "manylinux_2_37_x86_64" not in tags
    mac = Platform(version=(3, 12, 0), system="darwin", machine="arm64", macos="15.1")
    assert platform_tags(mac) == ("macosx_15_0_arm64",)
    musl = Platform(version=(3, 12, 0), system="linux", machine="aarch64")
    assert platform_tags(musl)[0] == "musllinux_1_2_aarch64"


# this machine ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("glibc", "first"), [("2", "manylinux2014"), ("2.17-x", "manylinux_2_17"), ("?", "musl")]
)
def test_whatever_a_host_calls_its_version_is_read_or_passed_over(glibc: str, first: str) -> None:
    platform = Platform(version=(3, 12, 0), system="linux", machine="x86_64", glibc=glibc)
    assert platform_tags(platform)[0].startswith(first)
    unknown = Platform(version=(3, 12, 0), system="darwin", machine="arm64")
    assert platform_tags(unknown) == ("macosx_14_0_arm64",)


async def test_packages_are_fetched_once_for_a_platform(index: Path, tmp_path: Path) -> None:
    lock = lock_of(make_wheel(index, "one"), make_wheel(index, "two"))
    house = Wheelhouse(tmp_path / "house")
    requirements = requirements_for(lock, {})
    both = await asyncio.gather(*(house.fill(lock, requirements, HERE, nothing) for _ in range(2)))
    assert [file.name for file in both[0]] == ["one-1-py3-none-any.whl", "two-1-py3-none-any.whl"]
    assert both[0] == both[1]
    shutil.rmtree(index)
    assert await Wheelhouse(tmp_path / "house").fill(lock, requirements, HERE, nothing) == both[0]
    both[0][0].unlink()  # somebody tidied the cache
    with pytest.raises(ProvisionError, match=r"no wheel for linux x86_64.*one"):
        await house.fill(lock, requirements, HERE, nothing)
    assert [path.name for path in (tmp_path / "house").rglob("new-*")] == []


async def test_a_package_without_a_wheel_for_the_host_is_named_with_the_platform(
    index: Path, tmp_path: Path
) -> None:
    lock = lock_of(make_wheel(index, "one", tag="cp311-cp311-manylinux_2_17_aarch64"))
    with pytest.raises(ProvisionError, match=r"no wheel for linux x86_64, Python 3\.\d+: .*one==1") as caught:
        await Wheelhouse(tmp_path / "house").fill(lock, requirements_for(lock, {}), HERE, nothing)
    assert "glibc" in caught.value.failure.remedy


@pytest.mark.slow
async def test_a_package_that_is_not_the_locked_one_is_not_kept(index: Path, tmp_path: Path) -> None:
    lock = lock_of(make_wheel(index, "one"))
    make_wheel(index, "one", {"one.py": b"print('another')"})
    with pytest.raises(ProvisionError, match="pip failed here"):
        await Wheelhouse(tmp_path / "house").fill(lock, requirements_for(lock, {}), HERE, nothing)
    assert not list((tmp_path / "house").rglob("*.whl"))


# the host --------------------------------------------------------------------------------------------
def pretend_offline(home: Path) -> dict[str, str]:
    """A host whose pip must be told to stay off the index."""
    return pretend_pip(home, 'case $* in *"--no-index --find-links "*) exit 0;; esac; exit 1')


async def test_only_what_is_lacking_is_sent_and_a_broken_sending_goes_on_from_there(
    index: Path, tmp_path: Path, locked: Locked
) -> None:
    wheels = [make_wheel(index, name) for name in ("one", "three", "two")]
    lock = locked(*wheels)
    home = tmp_path / "home"
    there = home / ".mlxring" / f"wheels-{lock_hash(lock)}"
    env = pretend_offline(home)

    async with reached(home, env=env) as host:
        heard = Heard()

        def cut(record: object) -> None:
            heard(record)  # type: ignore[arg-type]
            if heard.steps[-1].detail.startswith("sending three-1"):
                host._connection.abort()

        facts = await gather_facts(host)
        with pytest.raises(HostError, match="SSH connection was lost"):
            await provision(host, facts, cut, wheelhouse=Wheelhouse(tmp_path / "house"))
    assert [path.name for path in there.glob("*.whl")] == ["one-1-py3-none-any.whl"]

    async with reached(home, env=env) as host:
        prepared, heard = await offline(host, tmp_path / "house")
        details = [step.detail for step in heard.steps]
        assert "sending 2 packages" in details and not [text for text in details if "one-1" in text]
        assert not there.exists()  # they are of no more use once the environment is there
        again, quiet = await offline(host, tmp_path / "house")
        assert again == prepared
        assert [step.detail for step in quiet.steps] == ["", "nothing to do", ""]


@pytest.mark.slow
async def test_a_wheel_that_was_damaged_here_is_not_sent(index: Path, tmp_path: Path, locked: Locked) -> None:
    locked(make_wheel(index, "one"))
    home = tmp_path / "home"
    env = pretend_pip(home, "exit 1")
    async with reached(home, env=env) as host:
        with pytest.raises(ProvisionError, match="pip failed"):
            await offline(host, tmp_path / "house")
        for sent in (home / ".mlxring").rglob("*.whl"):
            sent.unlink()
        (kept,) = (tmp_path / "house").rglob("*.whl")
        kept.write_bytes(b"damaged")
        with pytest.raises(ProvisionError, match="was damaged"):
            await offline(host, tmp_path / "house")
        assert not kept.exists() and not list((home / ".mlxring").rglob("*.whl"))


@pytest.mark.slow
async def test_a_real_environment_is_made_from_sent_wheels(
    index: Path, tmp_path: Path, locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked(*(make_wheel(index, name) for name in NEEDED))
    home = tmp_path / "home"
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_NO_INDEX": "", "PIP_FIND_LINKS": ""}
    async with reached(home, env=plain_environment(home) | nowhere) as host:
        prepared, _ = await offline(host, tmp_path / "house")
        ran = await host.run([prepared.python, "-I", "-c", "import mlx.core, psutil; print(psutil.__file__)"])
        assert ran.stdout.startswith(str(home)), ran.stderr


@pytest.mark.slow
async def test_a_package_of_another_architecture_is_found_before_the_environment_is_used(
    index: Path, tmp_path: Path, locked: Locked
) -> None:
    library = f"mlx/core.cpython-{sys.version_info[0]}{sys.version_info[1]}-x86_64-linux-gnu.so"
    wheels = [make_wheel(index, name) for name in NEEDED if name != "mlx"]
    locked(*wheels, make_wheel(index, "mlx", {library: b"\x7fELF of another machine"}))
    home = tmp_path / "home"
    async with reached(home, options(python=""), plain_environment(home)) as host:
        with pytest.raises(
            ProvisionError, match=r"does not run on x86_64: ERROR: mlx\.core cannot be loaded"
        ):
            await offline(host, tmp_path / "house")
    assert not list((home / ".mlxring").glob("venv-*/bin"))


async def test_a_wheel_that_is_gone_from_here_is_told(host: SshHost, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=r"gone\.whl on this machine cannot be read"):
        await send_wheels(host, [tmp_path / "gone.whl"], str(tmp_path / "wheels"), b"", nothing)

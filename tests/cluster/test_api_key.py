"""The API's key on a real host: made once, readable by its owner alone, replaced when asked."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from console.cluster.api_key import have_key, read_key, replace_key
from console.cluster.ssh import SshHost
from ringcore.spec.errors import NotRunning, RingError
from ringcore.spec.profile import HostOptions, Profile

PROFILE = Profile(name="t", model="/m", hosts=(HostOptions(name="a", ssh="local", address="127.0.0.1"),))


def found(home: Path) -> Iterator[Path]:
    yield from home.rglob("runs/t/api.key")


async def test_it_is_made_once_and_kept_and_only_its_owner_can_read_it(host: SshHost, tmp_path: Path) -> None:
    await have_key(host, PROFILE)
    key = await read_key(host, PROFILE)
    await have_key(host, PROFILE)
    assert await read_key(host, PROFILE) == key
    assert len(key) > 40
    (file,) = list(found(tmp_path))
    assert file.read_text() == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_new_one_replaces_it(host: SshHost) -> None:
    await have_key(host, PROFILE)
    before = await read_key(host, PROFILE)
    assert await replace_key(host, PROFILE) == await read_key(host, PROFILE) != before


async def test_a_ring_that_was_never_deployed_has_none_and_that_is_told(host: SshHost) -> None:
    with pytest.raises(NotRunning, match="no API key yet"):
        await read_key(host, PROFILE)


async def test_one_is_replaced_only_where_the_ring_was_deployed(host: SshHost, tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no API key yet"):
        await replace_key(host, PROFILE)
    assert list(found(tmp_path)) == []  # the folder would be nobody's home, and provisioning would refuse it


@pytest.mark.parametrize("kept", ["mlxring-\x1b[2J", "two words", "clé"])
async def test_a_file_that_holds_no_key_is_told_and_can_be_replaced(
    host: SshHost, tmp_path: Path, kept: str
) -> None:
    await have_key(host, PROFILE)
    (file,) = list(found(tmp_path))
    file.write_text(kept)
    with pytest.raises(RingError, match="no key that could be sent") as caught:
        await read_key(host, PROFILE)
    assert kept not in str(caught.value)
    assert await replace_key(host, PROFILE) == await read_key(host, PROFILE)


async def test_what_to_run_can_be_pasted_whatever_the_profile_is_called(host: SshHost) -> None:
    with pytest.raises(NotRunning) as caught:
        await read_key(host, structs.replace(PROFILE, path="my rings/$x.toml"))
    assert "`mlxring deploy 'my rings/$x.toml'`" in caught.value.failure.remedy

"""Blocks of the prefix cache out of a ring into an archive, and into another: whole and private, or not."""

import asyncio
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from console.cluster import prefixes_export, prefixes_import
from console.cluster.hold import hold
from console.cluster.hosts import Hosts
from ringcore.cache.disk import Disk
from ringcore.spec.errors import HostError, MlxringError, ProfileError, ProvisionError, RingError
from ringcore.spec.profile import CacheOptions
from tests.cluster.keeping import NAMES, NOBODY, OTHER_ROOT, ROOT, Keeping
from tests.cluster.reach import until

LARGE = 1024  # so wide that a block does not fit into what is on its way between two machines


@pytest.fixture
def ring(tmp_path: Path) -> Keeping:
    made = Keeping(tmp_path / "ring")
    made.keeps(0, 1, 2)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "blocks.tar"


def beside(file: Path) -> list[str]:
    return sorted(path.name for path in file.parent.iterdir())


def once(act: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """``act`` at the first call alone."""
    left = [act]
    return lambda done, total: left.pop()(done, total) if left else None


def write(path: Path, text: str) -> None:
    path.write_text(text)


def read(path: Path) -> str:
    return path.read_text()


def holds(folder: Path) -> list[Path]:
    return list(folder.rglob(".mlxring-hold-*"))


def harm(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# export ----------------------------------------------------------------------------------------------
async def test_an_archive_is_a_private_tar_with_its_manifest_first(ring: Keeping, file: Path) -> None:
    seen: list[tuple[int, int]] = []
    done = await ring.export(file, lambda *far: seen.append(far))
    assert (done.blocks, done.partial, done.gone) == (3, 0, 0)  # type: ignore[attr-defined]
    assert mode(file) == 0o600 and beside(file) == [file.name]
    assert seen[-1] == (done.bytes, done.bytes)  # type: ignore[attr-defined]
    with tarfile.open(file, "r:") as tar:
        names = tar.getnames()
        manifest = msgspec.json.decode(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert names[0] == "manifest.json"
    assert names[1:3] == [f"blocks/{NAMES[0].hex()}.{layers}.safetensors" for layers in ("0-2", "2-5")]
    assert len(names) == 7
    assert (manifest["model"], manifest["dtype"], manifest["layers"]) == ("toy", "float32", 5)
    assert [block["name"] for block in manifest["blocks"]] == [name.hex() for name in NAMES[:3]]


async def test_another_ring_with_another_split_has_the_blocks_that_its_layers_need(
    ring: Keeping, file: Path, tmp_path: Path
) -> None:
    await ring.export(file)
    other = Keeping(tmp_path / "other", splits=(0, 1, 2, 5))
    done = await other.take(file)
    assert (done.blocks, done.files, done.there, done.known) == (3, 9, 0, False)  # type: ignore[attr-defined]
    for name, layers in (("h0", "0-2"), ("h1", "0-2"), ("h2", "2-5")):
        assert [path.split(".", 1)[1] for path in other.files(name)] == [f"{layers}.safetensors"] * 3
        assert all(other.reads(name, block) for block in range(3))
        root = other.run_folder(name) / "prefix" / bytes(range(16)).hex()
        assert all(mode(path) & 0o77 == 0 for path in (root, *root.iterdir()))


async def test_a_block_that_lacks_layers_on_all_hosts_is_left_out_and_counted(
    ring: Keeping, file: Path
) -> None:
    (gone,) = ring.run_folder("h1").rglob(f"{NAMES[1].hex()}.*")
    gone.unlink()
    done = await ring.export(file)
    assert (done.blocks, done.partial) == (2, 1)  # type: ignore[attr-defined]


async def test_a_block_that_a_ring_removes_meanwhile_is_left_out_and_the_archive_is_sound(
    ring: Keeping, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = prefixes_export.look_at_all

    async def then_gone(hosts: Hosts) -> Any:
        found = await look(hosts)
        (gone,) = ring.run_folder("h0").rglob(f"{NAMES[1].hex()}.*")
        gone.unlink()
        return found

    monkeypatch.setattr(prefixes_export, "look_at_all", then_gone)
    done = await ring.export(file)
    assert (done.blocks, done.gone) == (2, 1)  # type: ignore[attr-defined]
    other = Keeping(tmp_path / "other")
    assert (await other.take(file)).blocks == 2  # type: ignore[attr-defined]
    assert [other.reads("h0", block) for block in range(3)] == [True, False, True]


async def test_where_nothing_is_there_the_remedy_says_what_to_do(tmp_path: Path, file: Path) -> None:
    ring = Keeping(tmp_path / "ring")
    with pytest.raises(ProfileError, match=r"nothing in files yet\n  remedy: use it first.*cache ring.toml"):
        await ring.export(file)
    ring.profile = structs.replace(ring.profile, cache=CacheOptions())
    with pytest.raises(ProfileError, match=r"cache.disk is off in the profile\n  remedy: set `disk"):
        await ring.export(file)
    assert beside(file) == []


async def test_a_file_that_is_something_else_is_not_overwritten_an_archive_is(
    ring: Keeping, file: Path
) -> None:
    letter = file.parent / "letter"
    write(letter, "a letter")
    with pytest.raises(ProfileError, match="is no archive of a prefix cache"):
        await ring.export(letter)
    assert read(letter) == "a letter"
    await ring.export(file)
    ring.keeps(3)
    assert (await ring.export(file)).blocks == 4  # type: ignore[attr-defined]
    with pytest.raises(ProfileError, match="there is no folder"):
        await ring.export(file.parent / "none" / "blocks.tar")


async def test_a_host_that_goes_away_leaves_no_file_and_is_named(ring: Keeping, file: Path) -> None:
    ring.keeps(3, 4, 5, width=LARGE)

    def cut(_done: int, _total: int) -> None:
        ring.reached["h1"]._connection.abort()

    with pytest.raises(HostError, match=r"h1: .*\n  remedy: ") as caught:
        await ring.export(file, once(cut))
    assert caught.value.failure.host == "h1"
    assert beside(file) == []


async def test_what_is_broken_off_leaves_no_file(ring: Keeping, file: Path) -> None:
    def interrupt(_done: int, _total: int) -> None:
        working.cancel()

    working = asyncio.ensure_future(ring.export(file, interrupt))
    with pytest.raises(asyncio.CancelledError):
        await working
    assert beside(file) == []


async def test_a_full_disk_here_is_told_and_leaves_no_file(
    ring: Keeping, small_disk: Callable[[str], Path]
) -> None:
    file = small_disk("16k") / "blocks.tar"
    with pytest.raises(
        MlxringError, match=r"blocks.tar cannot be written: No space left.*\n  remedy: name"
    ) as caught:
        await ring.export(file)
    assert caught.value.failure.exit_code == 1
    assert beside(file) == []


# import ----------------------------------------------------------------------------------------------
async def test_what_is_there_is_not_sent_and_what_is_damaged_is_put_right(ring: Keeping, file: Path) -> None:
    await ring.export(file)
    (damaged,) = ring.run_folder("h1").rglob(f"{NAMES[1].hex()}.*")
    content = damaged.read_bytes()
    harm(damaged)
    async with ring.operator() as operator:
        done = await operator.import_prefixes(file, NOBODY)
        assert (done.files, done.there, done.known) == (1, 5, True)
        assert damaged.read_bytes() == content
        again = await operator.import_prefixes(file, NOBODY)
    assert (again.files, again.bytes, again.there) == (0, 0, 6)
    opened = Disk(ring.run_folder("h1") / "prefix", ROOT, 100, 0)
    assert (len(opened), opened.damaged) == (3, 0)


async def test_while_the_ring_runs_nothing_is_imported(ring: Keeping, file: Path) -> None:
    await ring.export(file)
    process = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        (ring.run_folder("h0") / "agent.pid").write_text(f"{process.pid} 1.0 agent\n")
        with pytest.raises(
            RingError, match=r"t runs here.*\n  remedy: end it first with `mlxring down ring.toml`"
        ):
            await ring.take(file)
    finally:
        process.kill()
        await process.wait()


async def test_blocks_that_another_model_computed_are_refused(
    ring: Keeping, file: Path, tmp_path: Path
) -> None:
    await ring.export(file)
    other = Keeping(tmp_path / "other")
    async with other.operator() as operator:
        for changes, said in (
            ({"model": "other"}, "model toy, t has other"),
            ({"revision": "r2"}, "revision r1, t has r2"),
            ({"dtype": "float16"}, "dtype float32, t has float16"),
            ({"kv_bits": 8}, "bits of a cache 0, t has 8"),
            ({"block_tokens": 256}, "tokens of a block 64, t has 256"),
        ):
            other.deploy(**changes)
            with pytest.raises(ProfileError, match=said):
                await operator.import_prefixes(file, NOBODY)
        assert not other.files("h0")


async def test_blocks_of_other_weights_are_refused_until_the_ring_s_own_are_cleared(
    ring: Keeping, file: Path, tmp_path: Path
) -> None:
    await ring.export(file)
    other = Keeping(tmp_path / "other")
    other.keeps(4, root=OTHER_ROOT)
    before = other.files("h0")
    with pytest.raises(
        ProfileError, match=r"of other weights.*\n  remedy: .*`mlxring cache ring.toml --clear`"
    ):
        await other.take(file)
    assert other.files("h0") == before
    async with other.operator() as operator:
        assert not await operator.forget_prefixes()
    await other.take(file)
    assert all(other.reads("h1", block) for block in range(3))


async def test_no_more_is_imported_than_the_profile_lets_be_kept(
    ring: Keeping, file: Path, tmp_path: Path
) -> None:
    await ring.export(file)
    size = 3 * 20480
    async with Keeping(tmp_path / "other").operator() as operator:
        for allowed, said in ((0, "cache.disk is off"), (size - 1, "take 60.0 KiB; cache.disk allows")):
            operator.profile = structs.replace(operator.profile, cache=CacheOptions(disk_bytes=allowed))
            with pytest.raises(ProfileError, match=said):
                await operator.import_prefixes(file, NOBODY)
        operator.profile = structs.replace(operator.profile, cache=CacheOptions(disk_bytes=size))
        await operator.import_prefixes(file, NOBODY)


async def test_a_ring_that_was_never_deployed_is_to_be_deployed_first(
    ring: Keeping, file: Path, tmp_path: Path
) -> None:
    await ring.export(file)
    other = Keeping(tmp_path / "other")
    (other.run_folder("h0") / "deployment.json").unlink()
    with pytest.raises(
        ProvisionError, match=r"h0: .*not deployed.*\n  remedy: run `mlxring deploy ring.toml`"
    ):
        await other.take(file)


async def test_where_a_disk_is_too_small_no_host_is_sent_anything(
    ring: Keeping, file: Path, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    await ring.export(file)
    other = Keeping(tmp_path / "other")
    on_small_disk(other, "h1", small_disk("4m"))
    with pytest.raises(ProvisionError, match=r"h1: its disk has .* free; .*nothing was sent") as caught:
        await other.take(file)
    assert caught.value.failure.exit_code == 4
    assert not other.files("h0") and not other.files("h1")


async def test_a_disk_that_becomes_full_is_told_and_it_goes_on_from_there(
    ring: Keeping,
    file: Path,
    tmp_path: Path,
    small_disk: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await ring.export(file)
    other = Keeping(tmp_path / "other")
    disk = on_small_disk(other, "h1", small_disk("64k"))
    (disk / "filler").write_bytes(b"x" * 28 * 1024)
    monkeypatch.setattr(prefixes_import, "_SPARE_BYTES", -(1 << 30))
    with pytest.raises(ProvisionError, match=r"h1: its disk is full.*\n  remedy: free space there"):
        await other.take(file)
    arrived = len(other.files("h1"))
    assert 0 < arrived < 3 and all(name.endswith(".safetensors") for name in other.files("h1"))
    (disk / "filler").unlink()
    done = await other.take(file)
    assert done.there == 3 + arrived  # type: ignore[attr-defined]
    assert all(other.reads("h1", block) for block in range(3))


def on_small_disk(ring: Keeping, name: str, disk: Path) -> Path:
    """The run folder of one host lies on ``disk``."""
    run = ring.run_folder(name)
    shutil.move(run, disk / "t")
    run.symlink_to(disk / "t")
    return disk


async def test_a_host_that_goes_away_in_between_is_named_and_keeps_only_whole_files(
    ring: Keeping, file: Path, tmp_path: Path
) -> None:
    ring.keeps(3, 4, 5, width=LARGE)
    await ring.export(file)
    other = Keeping(tmp_path / "other")

    def cut(_done: int, _total: int) -> None:
        other.reached["h0"]._connection.abort()

    with pytest.raises(HostError, match=r"h0: the SSH connection was lost.*\n  remedy: ") as caught:
        await other.take(file, once(cut))
    assert caught.value.failure.exit_code == 3
    assert len(other.files("h1")) == 6
    await until(lambda: all(name.endswith(".safetensors") for name in other.files("h0")))
    assert len(other.files("h0")) < 6
    await other.take(file)
    assert all(other.reads("h0", block, LARGE if block > 2 else 4) for block in range(6))


async def test_what_is_broken_off_leaves_whole_files_only(ring: Keeping, file: Path, tmp_path: Path) -> None:
    ring.keeps(3, 4, 5)
    await ring.export(file)
    other = Keeping(tmp_path / "other")

    def interrupt(_done: int, _total: int) -> None:
        working.cancel()

    working = asyncio.ensure_future(other.take(file, interrupt))
    with pytest.raises(asyncio.CancelledError):
        await working
    for name in other.names:
        assert all(path.endswith(".safetensors") for path in other.files(name))
    assert not holds(tmp_path)


# clear, list -----------------------------------------------------------------------------------------
async def test_nothing_is_cleared_or_imported_while_another_operator_is_at_work(
    ring: Keeping, file: Path
) -> None:
    await ring.export(file)
    async with ring.operator() as first, ring.operator() as second:
        await first.kept()
        async with hold([ring.reached["h0"]], "t", who="alice@desk"):
            with pytest.raises(RingError, match="alice@desk"):
                await second.forget_prefixes()
            with pytest.raises(RingError, match="alice@desk"):
                await second.import_prefixes(file, lambda _done, _total: None)
    assert len(ring.files("h0")) == 3


async def test_what_lies_in_files_is_listed_by_host_the_root_used_last_first(ring: Keeping) -> None:
    stale = ring.run_folder("h1") / "prefix" / OTHER_ROOT.hex()
    stale.mkdir()
    (ring.run_folder("h1") / "prefix" / "notes").mkdir()
    async with ring.operator() as operator:
        there = await operator.kept()
    assert list(there) == ["h0", "h1"]
    assert list(there["h1"].roots) == [bytes(range(16)).hex(), OTHER_ROOT.hex()]
    kept = there["h1"].roots[there["h1"].root]
    assert (kept.blocks, kept.bytes) == (3, sum(map(len, ring.files("h1").values())))
    assert list(kept.used) == sorted(kept.used)

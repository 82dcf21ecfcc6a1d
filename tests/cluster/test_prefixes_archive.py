"""An archive of blocks is taken whole, as it was written, or refused before any host is asked."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from console.cluster.prefixes import Deployed
from console.cluster.prefixes_archive import Block, Manifest, Part, manifest_of
from console.cluster.prefixes_read import Archive
from console.cluster.prefixes_write import new_archive
from ringcore.cache.disk import Disk
from ringcore.spec.block_file import BlockFile
from ringcore.spec.errors import ProfileError
from ringcore.spec.shard import Shard
from tests.cluster.keeping import LAYERS, NAMES, OTHER_ROOT, ROOT, Keeping, tensors

RING = Deployed(
    model="toy",
    revision="r1",
    dtype="float32",
    shards={"h0": Shard(0, 2, LAYERS), "h1": Shard(2, LAYERS, LAYERS)},
)
Members = list[tuple[tarfile.TarInfo, bytes]]


def parts(folder: Path, block: int, root: bytes = ROOT) -> list[tuple[BlockFile, bytes]]:
    found = []
    for start, end in ((0, 2), (2, LAYERS)):
        Disk(folder / "disk", root, 9, 0).write(NAMES[block], start, end, tensors(block, start, end))
        (path,) = (folder / "disk" / root.hex()).glob(f"{NAMES[block].hex()}.{start}-*")
        data = path.read_bytes()
        found.append((BlockFile(NAMES[block].hex(), start, end, len(data)), data))
    return found


def planned(blocks: list[list[tuple[BlockFile, bytes]]]) -> Manifest:
    named = [Block(b[0][0].name, tuple(Part(f.start, f.end, f.size) for f, _ in b)) for b in blocks]
    return manifest_of(RING, ROOT.hex(), named, 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of two blocks in two files each."""
    blocks = [parts(tmp_path, block) for block in (0, 1)]
    path = tmp_path / "blocks.tar"
    with new_archive(path, planned(blocks)) as writer:
        for block in blocks:
            writer.add(block[0][0].name, block)
        writer.finish()
    return path


def verified(path: Path) -> Manifest:
    archive = Archive.open(path)
    try:
        archive.verify()
        return archive.manifest
    finally:
        archive.close()


def rewritten(path: Path, change: Callable[[Members], object]) -> None:
    """The archive with what ``change`` does to its members."""
    with tarfile.open(path, "r:") as tar:
        members = [(entry, tar.extractfile(entry).read()) for entry in tar]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for entry, data in members:
            entry.size = len(data) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(data))


def with_manifest(**changes: object) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        said = msgspec.json.decode(members[0][1]) | changes
        members[0] = (members[0][0], msgspec.json.encode(said))

    return change


def renamed(name: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[2][0].name = name

    return change


def of_type(kind: bytes) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[2][0].type = kind
        members[2][0].linkname = "/etc/passwd"

    return change


def one_more(members: Members) -> None:
    members.append((tarfile.TarInfo("blocks/../../x"), b"x"))


def with_data(data: bytes) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[2] = (members[2][0], data)

    return change


def test_what_was_written_is_read(file: Path) -> None:
    manifest = verified(file)
    assert [block.name for block in manifest.blocks] == [name.hex() for name in NAMES[:2]]
    archive = Archive.open(file)
    assert archive.verify() == 2 * LAYERS * 2 * 2 * 64 * 4 * 4
    for each, _ in manifest.files():
        assert len(archive.read(each)) == each.size
    archive.close()


def test_blocks_that_never_came_are_not_in_the_manifest(tmp_path: Path) -> None:
    blocks = [parts(tmp_path, block) for block in (0, 1, 2)]
    with new_archive(tmp_path / "b.tar", planned(blocks)) as writer:
        writer.add(blocks[1][0][0].name, blocks[1])
        writer.finish()
    assert [block.name for block in verified(tmp_path / "b.tar").blocks] == [NAMES[1].hex()]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed("blocks/../../../.ssh/authorized_keys"), "where .* should be"),
        (renamed("/etc/passwd"), "where .* should be"),
        (of_type(tarfile.SYMTYPE), "where .* should be"),
        (of_type(tarfile.LNKTYPE), "where .* should be"),
        (of_type(tarfile.FIFOTYPE), "where .* should be"),
        (one_more, "which its manifest does not list"),
        (list.pop, "ends before"),
        (list.reverse, "does not begin with a manifest"),
        (with_data(b"short"), "another size"),
        (with_manifest(kind="other"), "something else"),
        (with_manifest(format=2), "is of format 2; this console reads 1"),
        (with_manifest(root="../.."), "no blocks"),
        (with_manifest(root=OTHER_ROOT.hex()), "says that it is another block"),
        (with_manifest(block_tokens=8), "no blocks"),
        (with_manifest(blocks=[]), "no blocks"),
        (with_manifest(bytes=1), "do not add up"),
        (with_manifest(layers=6), "has 5 of 6 layers"),
        (with_manifest(model=7), "not understood"),
    ],
)
def test_a_foreign_archive_is_refused(file: Path, change: Callable[[Members], object], said: str) -> None:
    rewritten(file, change)
    with pytest.raises(ProfileError, match=rf"{said}(.|\n)*remedy: ") as caught:
        verified(file)
    assert caught.value.failure.exit_code == 2


@pytest.mark.parametrize("name", ["../../../x", "A" * 32, "0" * 31, "0" * 33])
def test_a_manifest_that_names_no_block_is_refused(file: Path, name: str) -> None:
    def change(members: Members) -> None:
        said = msgspec.json.decode(members[0][1])
        said["blocks"][0]["name"] = name
        members[0] = (members[0][0], msgspec.json.encode(said))

    rewritten(file, change)
    with pytest.raises(ProfileError, match="no blocks"):
        verified(file)


@pytest.mark.parametrize("change", [{"start": 1}, {"end": 99_999}, {"bytes": -1}, {"sha256": "x"}])
def test_a_manifest_with_an_impossible_part_is_refused(file: Path, change: dict[str, object]) -> None:
    def harm(members: Members) -> None:
        said = msgspec.json.decode(members[0][1])
        said["blocks"][1]["parts"][0] |= change
        members[0] = (members[0][0], msgspec.json.encode(said))

    rewritten(file, harm)
    with pytest.raises(ProfileError, match=r"block .* is none"):
        verified(file)


def test_one_flipped_bit_anywhere_in_the_data_is_found(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        places = [entry.offset_data + entry.size // 2 for entry in tar if entry.name.startswith("blocks/")]
    for place in places:
        whole[place] ^= 1
        file.write_bytes(whole)
        with pytest.raises(ProfileError, match=r"damaged: .* another sum.*; nothing was changed"):
            verified(file)
        whole[place] ^= 1


def test_cut_anywhere_it_is_damaged(file: Path) -> None:
    whole = file.read_bytes()
    with tarfile.open(file) as tar:
        end = max(entry.offset_data + entry.size for entry in tar)
    for size in (0, 1, 511, 512, 700, len(whole) // 3, len(whole) // 2, end - 1, end, end + 600):
        file.write_bytes(whole[:size])
        with pytest.raises(ProfileError, match=r"is (damaged|no archive)"):
            verified(file)


def test_a_block_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    """Also where its sum is right: whoever made the archive may have made it wrong."""
    theirs, own = parts(tmp_path, 0), parts(tmp_path, 1)
    wrong = [(own[0][0], theirs[0][1]), own[1]]
    with new_archive(tmp_path / "b.tar", planned([wrong])) as writer:
        writer.add(own[0][0].name, wrong)
        writer.finish()
    with pytest.raises(ProfileError, match="says that it is another block"):
        verified(tmp_path / "b.tar")


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(ProfileError, match=r"cannot be read: No such file.*\n  remedy: name a file that"):
        verified(path)
    path.write_bytes(b"\x1f\x8b" + bytes(5000))
    with pytest.raises(ProfileError, match="is damaged"):
        verified(path)
    with pytest.raises(ProfileError, match="cannot be read"):
        verified(tmp_path)


async def test_a_damaged_archive_is_refused_before_any_host_is_reached(file: Path, tmp_path: Path) -> None:
    ring = Keeping(tmp_path / "ring")
    rewritten(file, with_data(b"short"))
    with pytest.raises(ProfileError):
        await ring.take(file)
    assert not ring.reached

"""Writing ``ring.layers``: the author's comments and format stay, a refused file stays as it was."""

import os
import stat
from pathlib import Path

import pytest

from console import whole_file
from console.profile_edit import write_layers
from ringcore.spec.errors import ProfileError
from ringcore.spec.profile_file import load_profile

HOSTS = """\
# the hosts
[[hosts]]               # rank 0, the leader
name = "studio"
ssh = "operator@studio.local"
address = "192.168.5.1"

[[hosts]]
name = 'mini1'          # under the desk
ssh = "operator@mini1.local"
address = "192.168.5.2"
"""
TOP = """\
# Ours.
name = "pair"
model = "~/models/M"

"""
RING = """\
[ring]   # how
context   = 2048     # enough
"""


def written(tmp_path: Path, before: str, layers: tuple[int, ...] = (10, 18)) -> str:
    path = tmp_path / "pair.toml"
    path.write_bytes(before.encode())
    profile = write_layers(load_profile(path), layers)
    assert profile == load_profile(path) and profile.ring.layers == layers
    assert [each.name for each in tmp_path.iterdir()] == ["pair.toml"]
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("layers = [9, 19]  # by hand\n", "layers = [10, 18]  # by hand\n"),
        ("layers = [\n  9,  # big\n  19,\n]\n", "layers = [\n  10,  # big\n  18,\n]\n"),
        ("", "layers = [10, 18]\n"),
    ],
    ids=["replaced", "number by number", "added"],
)
def test_only_the_layers_change(tmp_path: Path, before: str, after: str) -> None:
    assert written(tmp_path, f"{TOP}{RING}{before}\n{HOSTS}") == f"{TOP}{RING}{after}\n{HOSTS}"


def test_a_profile_without_a_ring_table_gets_one_at_its_end(tmp_path: Path) -> None:
    assert written(tmp_path, TOP + HOSTS) == f"{TOP}{HOSTS}\n[ring]\nlayers = [10, 18]\n"


def test_a_ring_table_that_ends_the_file_without_a_newline_gets_its_own_line(tmp_path: Path) -> None:
    after = written(tmp_path, f"{TOP}{HOSTS}\n[ring]\ncontext = 2048")
    assert after.startswith(f"{TOP}{HOSTS}\n[ring]\ncontext = 2048\nlayers = [10, 18]")


def test_dotted_keys_and_inline_tables_stay_what_they_are(tmp_path: Path) -> None:
    assert "ring.layers = [10, 18]\n" in written(tmp_path, f"ring.context = 2048\n{TOP}{HOSTS}")
    assert "ring = {context = 2048,layers = [10, 18]}" in written(
        tmp_path, f"{TOP}ring = {{context = 2048}}\n{HOSTS}"
    )


def test_line_ends_stay_those_of_the_file(tmp_path: Path) -> None:
    before = f"{TOP}{RING}\n{HOSTS}".replace("\n", "\r\n")
    after = f"{TOP}{RING}layers = [10, 18]\n\n{HOSTS}".replace("\n", "\r\n")
    assert written(tmp_path, before) == after


def test_no_layers_let_the_planner_choose_again(tmp_path: Path) -> None:
    before = f"{TOP}{RING}layers = [9, 19]\n\n{HOSTS}"
    assert written(tmp_path, before, ()) == f"{TOP}{RING}\n{HOSTS}"
    assert written(tmp_path, TOP + HOSTS, ()) == TOP + HOSTS


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "link.toml"
    real.write_text(TOP + HOSTS)
    real.chmod(0o640)
    link.symlink_to(real)
    write_layers(load_profile(link), (10, 18))
    assert link.is_symlink() and stat.S_IMODE(real.stat().st_mode) == 0o640
    assert load_profile(real).ring.layers == (10, 18)


@pytest.mark.parametrize(
    ("now", "layers", "words"),
    [
        (TOP + HOSTS.replace("mini1", "mini9"), (10, 18), "names other hosts"),
        (TOP + HOSTS + "[ring", (10, 18), "not valid TOML"),
        (TOP.replace("pair", "no name") + HOSTS, (10, 18), "name"),
        ("ring = 5\n" + TOP.partition("[ring]")[0] + HOSTS, (10, 18), "ring"),
        (TOP + HOSTS, (10, 9, 9), "ring.layers"),
    ],
    ids=["other hosts", "no TOML", "no profile", "no table", "wrong count"],
)
def test_what_cannot_be_right_is_refused_and_the_file_stays(
    tmp_path: Path, now: str, layers: tuple[int, ...], words: str
) -> None:
    path = tmp_path / "pair.toml"
    path.write_text(TOP + HOSTS)
    profile = load_profile(path)
    path.write_text(now)
    with pytest.raises(ProfileError) as caught:
        write_layers(profile, layers)
    assert words in caught.value.failure.cause and caught.value.failure.remedy
    assert path.read_text() == now and len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_is_full_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pair.toml"
    path.write_text(TOP + HOSTS)

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(ProfileError, match="No space left on device"):
        write_layers(load_profile(path), (10, 18))
    assert path.read_text() == TOP + HOSTS and len(list(tmp_path.iterdir())) == 1


def test_a_ring_without_a_file_says_so() -> None:
    from msgspec import structs

    from tests.screen.fake import PROFILE

    with pytest.raises(ProfileError, match="no profile file"):
        write_layers(structs.replace(PROFILE, path=""), (10, 9, 9))

"""Every profile in `profiles/` is one that works, and explains itself."""

from pathlib import Path

import pytest

from ringcore.spec.profile_file import load_profile

FOLDER = Path(__file__).parents[2] / "profiles"
EXAMPLES = sorted(FOLDER.glob("*.toml"))


def test_the_examples_that_the_manual_names_are_there() -> None:
    names = {path.stem for path in EXAMPLES}
    assert {"local", "local-three", "mac-pair", "mixed-macs", "linux-cluster"} <= names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_and_is_named_as_its_file(path: Path) -> None:
    profile = load_profile(path)
    assert profile.name == path.stem
    assert profile.path == str(path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_begins_with_what_it_is_for_and_has_short_lines(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ") and len(lines[0]) > 30
    assert all(len(line) <= 110 for line in lines)


def test_the_local_examples_can_run_side_by_side() -> None:
    used: set[int] = set()
    for name in ("local", "local-three"):
        profile = load_profile(FOLDER / f"{name}.toml")
        ports = {profile.api.port, *range(profile.ring.port, profile.ring.port + len(profile.hosts) + 1)}
        assert not used & ports
        used |= ports

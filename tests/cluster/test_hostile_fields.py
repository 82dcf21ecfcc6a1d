"""No text of a profile or of a host is ever read by a shell: each arrives as it is, or is refused.

Every path a profile can name, and everything that a host says of itself, is made of what shells live on.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cluster.deploy import start_agent
from console.cluster.facts import gather_facts
from console.cluster.hold import deployed_by, hold
from console.cluster.model import read_card
from console.cluster.provision import provision
from console.cluster.remote import launch, launcher_script, purge, read_run_file, show_home
from console.cluster.ssh import SshHost
from console.cluster.stop import purge_home, reap
from console.cluster.versions import deployed_version
from ringcore.spec.deployment import MARKER
from ringcore.spec.errors import MlxringError, PlanError, ProfileError, RingError
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile_file import load_profile
from tests.cluster.reach import Heard, environment, options, plain_environment, reached

WORDS = "; $(touch x) `touch x` 'q' \"d\" \\ & | > x *\n-rf new\tline # größe"
# the strictest shell and the strangest one; the others read alike
SHELLS = [
    pytest.param(shell, marks=() if shell in ("dash", "fish") else pytest.mark.slow)
    for shell in ("dash", "bash", "zsh", "fish")
    if shutil.which(shell)
]


@pytest.fixture(autouse=True)
def nothing_was_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nowhere is there a file that one of the words would have made."""
    monkeypatch.chdir(tmp_path)
    yield
    assert [path for path in tmp_path.rglob("*") if path.name in ("x", "new")] == []


def logged_in_with(shell: str, home: Path) -> dict[str, str]:
    return plain_environment(home) | {"SHELL": str(shutil.which(shell))}


@pytest.mark.parametrize("shell", SHELLS)
async def test_every_path_of_a_profile_arrives_as_it_is(tmp_path: Path, shell: str) -> None:
    home = tmp_path / "home"
    python = home / f"bin {WORDS}" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    what = options(home=f"~/{WORDS}", python=f"~/bin {WORDS}/python", model=f"~/{WORDS}")
    ours = home / WORDS
    async with reached(home, what, logged_in_with(shell, home)) as host:
        facts = await gather_facts(host)
        assert facts.pythons[0].path == str(python)
        prepared = await provision(host, facts, Heard())
        assert (prepared.home, prepared.python) == (str(ours), str(python))
        assert (ours / MARKER).is_file()
        await the_rest(host, facts, prepared.code, prepared.python, ours)
    assert not ours.exists()


async def the_rest(host: SshHost, facts: HostFacts, code: str, python: str, ours: Path) -> None:
    """Deploy, start, read, end and purge with ``host.options.home``."""
    home = host.options.home
    run = ours / "runs" / "minis"
    await host.write(f"{run}/{WORDS}", b"secret", mode=0o600)
    assert (run / WORDS).read_bytes() == b"secret"
    (run / WORDS).unlink()
    await host.write(f"{run}/ringcore", launcher_script(python, code), mode=0o700)
    await host.write(f"{run}/deployment.json", b'{"operator": "a", "made_at": 1.0}', mode=0o600)
    assert (await host.run(read_run_file(home, "minis", "deployment.json"))).stdout.startswith("{")
    assert (await host.run(show_home(home))).stdout == f"{ours}\n"
    with pytest.raises(MlxringError, match=r"deployment\.json cannot be read"):  # said by the agent itself
        await start_agent(host, "minis")
    version = await deployed_version(host, "minis")
    assert version is None or version.number
    holder = await deployed_by(host, "minis")
    assert holder is not None and holder.who == "a"
    async with hold([host], "minis", who=WORDS):
        with pytest.raises(RingError, match="another operator is at work"):
            async with hold([host], "minis"):
                pass
    await reap(host, "minis")
    with pytest.raises(PlanError):
        await read_card(host, facts, f"{ours}/{WORDS}", "float32", allow_unverified=False)
    await purge_home(host)


@pytest.mark.parametrize("shell", SHELLS)
async def test_what_a_host_says_of_itself_is_never_read_by_its_shell(tmp_path: Path, shell: str) -> None:
    home = tmp_path / f"home {WORDS}"
    uv = home / ".local" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text("#!/bin/sh\nexit 1\n")
    uv.chmod(0o755)
    env = environment(home) | {"SHELL": str(shutil.which(shell))}
    async with reached(home, env=env) as host:
        facts = await gather_facts(host)
        assert (facts.home, facts.uv) == (str(home), str(uv))
        prepared = await provision(host, facts, Heard())
        assert prepared.home == f"{home}/.mlxring"
        await the_rest(host, facts, prepared.code, prepared.python, home / ".mlxring")


def test_nothing_that_goes_to_a_host_is_ever_split_into_words() -> None:
    """Scripts get texts as arguments, never as part of themselves."""
    for argv in (
        launch(WORDS, WORDS, WORDS, WORDS), purge(WORDS), read_run_file(WORDS, WORDS, WORDS), show_home(WORDS)
    ):  # fmt: skip
        assert argv[:2] == ["/bin/sh", "-c"] and argv[3] == "sh"
        assert "touch x" not in argv[2] and WORDS in argv[4:]


@pytest.mark.parametrize(
    "line", ['name = "; $(touch x)"', "name = 'a b'", 'name = "../up"', 'name = "-rf"', 'name = "a\\nb"']
)
@pytest.mark.parametrize("place", ["ring", "host"])
def test_names_that_become_parts_of_paths_are_refused(tmp_path: Path, line: str, place: str) -> None:
    ring, host = (line, 'name = "h"') if place == "ring" else ('name = "r"', line)
    file = tmp_path / "ring.toml"
    file.write_text(f'{ring}\nmodel = "/m"\n[[hosts]]\n{host}\nssh = "op@h"\naddress = "10.0.0.1"\n')
    with pytest.raises(ProfileError, match="name"):
        load_profile(file)

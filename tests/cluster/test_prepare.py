"""Which ringcore a host has deployed is told, another one is replaced only when the operator agrees."""

import os
import sys
import time
from pathlib import Path

import pytest

from console.cluster.code_archive import code_archive
from console.cluster.facts import gather_facts
from console.cluster.prepare import Preparation
from console.cluster.provision import provision
from console.cluster.remote import LAUNCHER, launcher_script
from console.cluster.ssh import SshHost
from console.cluster.versions import Version, deployed_version
from ringcore import __version__
from ringcore.spec.errors import ProvisionError
from tests.cluster.reach import Heard, options, reached

OWN = code_archive().hash
OTHER = "0123456789abcdef"
THERE = options(ssh="op@h1", python=sys.executable)


class Asked:
    """An operator who always answers the same."""

    def __init__(self, answer: bool) -> None:
        self.questions: list[str] = []
        self._answer = answer

    async def __call__(self, question: str) -> bool:
        self.questions.append(question)
        return self._answer


def deploy(home: Path, code: str, version: str = "", ring: str = "t") -> None:
    """A launcher as deploying writes it, and the code that it names."""
    run = home / "runs" / ring
    run.mkdir(parents=True, exist_ok=True)
    (run / LAUNCHER).write_bytes(launcher_script(sys.executable, f"{home}/code-{code}"))
    if version:
        package = home / f"code-{code}" / "ringcore"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f'"""Doc."""\n\n__version__ = "{version}"\n')


async def prepared_once(host: SshHost) -> Path:
    return Path((await provision(host, await gather_facts(host), Heard())).home)


async def looked(host: SshHost, heard: Heard) -> Preparation:
    preparation = Preparation("t", {"h1": await gather_facts(host)}, heard)
    assert await preparation.look([host]) == []
    return preparation


async def test_the_deployed_version_is_read_whatever_the_home_is_called(tmp_path: Path) -> None:
    odd = options(python=sys.executable, home="~/it's code-1111111111111111 $(touch x)/")
    async with reached(tmp_path / "home", odd) as host:
        assert await deployed_version(host, "t") is None
        home = await prepared_once(host)
        deploy(home, OWN)
        assert await deployed_version(host, "t") == Version(OWN, __version__)
        deploy(home, OTHER)
        assert await deployed_version(host, "t") == Version(OTHER)
    assert not (tmp_path / "home" / "x").exists()


async def test_another_ringcore_is_left_alone_unless_the_operator_agrees(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", THERE) as host:
        deploy(await prepared_once(host), OTHER, "0.0.9")

        heard = Heard()
        preparation = await looked(host, heard)
        (problem,) = await preparation.agree(no := Asked(False))
        assert isinstance(problem, ProvisionError) and problem.failure.host == "h1"
        assert "ringcore 0.0.9 (code 01234567)" in problem.failure.cause
        assert (
            f"{__version__} (code {OWN[:8]})" in problem.failure.cause and "--yes" in problem.failure.remedy
        )
        assert await preparation.do() == ({}, [])
        assert heard.steps[-1].status == "failed"
        assert no.questions[0].startswith("h1 has ringcore 0.0.9 (code 01234567) deployed")

        preparation = await looked(host, Heard())
        assert await preparation.agree(Asked(True)) == []
        ready, problems = await preparation.do()
        assert set(ready) == {"h1"} and problems == []


@pytest.mark.parametrize("what", ["the same", "nothing", "a local host"])
async def test_nobody_is_asked_where_nothing_of_others_is_replaced(tmp_path: Path, what: str) -> None:
    place = options(python=sys.executable) if what == "a local host" else THERE
    async with reached(tmp_path / "home", place) as host:
        home = await prepared_once(host)
        if what != "nothing":
            deploy(home, OWN if what == "the same" else OTHER)
        preparation = await looked(host, Heard())
        assert await preparation.agree(asked := Asked(False)) == []
    assert asked.questions == []


async def test_folders_that_no_launcher_names_are_removed_once_they_are_old(tmp_path: Path) -> None:
    names = {"used": "1" * 16, "unused": "2" * 16, "new": "3" * 16}
    async with reached(tmp_path / "home", THERE) as host:
        home = await prepared_once(host)
        deploy(home, names["used"], "1", ring="another")
        for name in ("unused", "new"):
            (home / f"code-{names[name]}").mkdir()
        (home / f"venv-{names['unused']}").mkdir()
        (home / f"venv-{names['unused']}.lock").touch()
        for mine in ("code-mine", "notes", f"code-{'4' * 16}x"):
            (home / mine).mkdir()
        old = time.time() - 7200
        for folder in home.iterdir():
            if not folder.name.endswith(names["new"]):
                os.utime(folder, (old, old))
        preparation = await looked(host, Heard())
        assert [word.text for word in preparation.told()["h1"]] == [
            f"removing code-{names['unused']}, venv-{names['unused']}, which no ring uses"
        ]
        await preparation.do()
        left = {entry.name for entry in home.iterdir()}
        assert {f"code-{names['used']}", f"code-{names['new']}", f"code-{OWN}", "code-mine", "notes"} <= left
        assert f"code-{'4' * 16}x" in left and not [name for name in left if names["unused"] in name]

        # the ring that used one is deployed anew: then that one goes too
        deploy(home, OWN, ring="another")
        await preparation.remove_unused(host)
        assert not (home / f"code-{names['used']}").exists() and (home / f"code-{OWN}").exists()

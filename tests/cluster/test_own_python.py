"""A host without a Python that is new enough, but with uv, gets one; where uv cannot, its reason is told."""

from pathlib import Path

import pytest

from console.cluster.actions import Places
from console.cluster.own_python import install_python
from ringcore.spec.errors import ProvisionError
from tests.cluster.reach import reached

# as uv says it where names are not resolved
NO_NETWORK = """error: Failed to install cpython-3.12.16-linux-x86_64-gnu
  cause: Request failed after 3 retries in 7.4s
  cause: error sending request for url (https://github.com/astral-sh/python-build-standalone)
  cause: client error (Connect)
  cause: dns error
"""


def pretend_uv(home: Path, script: str) -> str:
    uv = home / "uv"
    uv.parent.mkdir(parents=True, exist_ok=True)
    uv.write_text(f"#!/bin/sh\n{script}\n")
    uv.chmod(0o755)
    return str(uv)


def places(home: Path) -> Places:
    own = f"{home}/.mlxring"
    return Places(home=own, venv=f"{own}/venv-1", code=f"{own}/code-1", wheels=f"{own}/wheels-1")


async def test_uv_is_asked_for_a_python_in_our_own_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    uv = pretend_uv(home, 'echo "$UV_PYTHON_INSTALL_DIR $*" > "$HOME/asked"')
    async with reached(home) as host:
        await install_python(host, places(home), uv)
    assert (home / "asked").read_text() == f"{home}/.mlxring/python python install 3.12\n"


@pytest.mark.parametrize(
    ("said", "cause", "remedy"),
    [
        (NO_NETWORK, "uv cannot fetch one: error: Failed to install cpython", "github.com"),
        ("error: No space left on device (os error 28)", "the disk became full while uv", "hosts.home"),
        (
            "error: No download found for 3.12",
            "uv could not install Python 3.12: error: No download",
            "by hand",
        ),
    ],
)
async def test_what_uv_could_not_do_is_told_in_its_words(
    tmp_path: Path, said: str, cause: str, remedy: str
) -> None:
    home = tmp_path / "home"
    uv = pretend_uv(home, f"cat >&2 <<'END'\n{said}\nEND\nexit 1")
    async with reached(home) as host:
        with pytest.raises(ProvisionError) as caught:
            await install_python(host, places(home), uv)
    failure = caught.value.failure
    assert cause in failure.cause and failure.host == "h1"
    assert remedy in failure.remedy

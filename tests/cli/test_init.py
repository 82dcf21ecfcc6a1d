"""`mlxring init`: a profile from flags or answers, written whole or not at all."""

import json
import os
import pty
import resource
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from console.cli import main
from ringcore.spec.profile import Profile
from ringcore.spec.profile_file import load_profile
from ringcore.spec.units import GIB

INIT = [sys.executable, "-m", "console", "init"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def init(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command in ``folder``, without a terminal."""
    return subprocess.run(
        [*INIT, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def answering(
    folder: Path, answers: Sequence[str], *arguments: str, end: bool = False
) -> tuple[int, str, str]:
    """The command on a terminal that types ``answers`` (and then ctrl+d): exit code, stdout, stderr."""
    master, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            [*INIT, *arguments],
            cwd=folder,
            env=ENVIRONMENT,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(master, "".join(f"{answer}\n" for answer in answers).encode() + (b"\x04" if end else b""))
        out, err = process.communicate(timeout=30)
    finally:
        os.close(master)
        os.close(terminal)
    return process.returncode, out, err


def here(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    """The command in this process, in ``folder``."""
    monkeypatch.chdir(folder)
    return main(["init", *arguments])


def two_macs() -> list[str]:
    return ["--host", "a=op@a.local:2222,192.168.5.1,12 GiB", "--host", "b=b.local,192.168.5.2"]


def test_local_ranks_need_a_name_only(tmp_path: Path) -> None:
    ran = init(tmp_path, "--name", "trial", "--local", "3")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "trial.toml\n", "")
    profile = load_profile(tmp_path / "trial.toml")
    assert (profile.name, profile.model, len(profile.hosts)) == ("trial", "demo", 3)
    assert {host.ssh for host in profile.hosts} == {"local"}


def test_every_flag_finds_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = "--context 4096 --sequences 3 --port 9000 --api-port 9100 --objective memory --order forward"
    arguments = ["--name", "macs", "--model", "~/m", *two_macs(), *ring.split(), "--backend", "jaccl"]
    assert here(monkeypatch, tmp_path, "deep.toml", *arguments) == 0
    profile: Profile = load_profile(tmp_path / "deep.toml")
    assert (profile.name, profile.model, profile.api.port) == ("macs", "~/m", 9100)
    options = profile.ring
    assert (options.context, options.sequences, options.port) == (4096, 3, 9000)
    assert (options.objective, options.order, options.backend) == ("memory", "forward", "jaccl")
    first, second = profile.hosts
    assert (first.name, first.ssh, first.address) == ("a", "op@a.local:2222", "192.168.5.1")
    assert (first.memory_bytes, second.memory_bytes) == (12 * GIB, None)


def test_the_file_reads_like_the_examples(tmp_path: Path) -> None:
    init(tmp_path, "--name", "macs", "--model", "/m", *two_macs())
    text = (tmp_path / "macs.toml").read_text()
    assert text.startswith("# ") and text.count("\n[[hosts]]\n") == 2
    assert set(tomllib.loads(text)) == {"name", "model", "hosts"}, "defaults are not written"


def test_json_says_what_was_written(tmp_path: Path) -> None:
    ran = init(tmp_path, "--name", "t", "--local", "1", "--json")
    told = json.loads(ran.stdout)
    assert told["ok"] is True and told["path"] == "t.toml"
    assert told["profile"] == tomllib.loads((tmp_path / "t.toml").read_text())


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], ["--name", "--model", "--host", "--local"]),
        (["--name", "x"], ["--model", "--host"]),
        (["--local", "2"], ["--name"]),
        (["--name", "x", "--host", "a=h,10.0.0.1"], ["--model"]),
    ],
)
def test_without_a_terminal_missing_flags_are_a_usage_error_that_names_them(
    tmp_path: Path, given: list[str], missing: list[str]
) -> None:
    ran = init(tmp_path, *given)
    assert ran.returncode == 2 and ran.stdout == ""
    cause = ran.stderr.partition("remedy")[0]
    assert all(flag in cause for flag in missing)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("mine")
    ran = init(tmp_path, "--name", "t", "--local", "2")
    assert ran.returncode == 2 and "--force" in ran.stderr
    assert (tmp_path / "t.toml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["t.toml"]


def test_force_replaces_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("mine")
    assert init(tmp_path, "--name", "t", "--local", "2", "--force").returncode == 0
    assert load_profile(tmp_path / "t.toml").name == "t"
    assert [path.name for path in tmp_path.iterdir()] == ["t.toml"]


def test_force_through_a_link_replaces_the_file_it_names(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("old")
    (tmp_path / "t.toml").symlink_to("real.toml")
    assert init(tmp_path, "--name", "t", "--local", "2", "--force").returncode == 0
    assert (tmp_path / "t.toml").is_symlink()
    assert load_profile(tmp_path / "real.toml").name == "t"


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "t.toml").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    assert here(monkeypatch, tmp_path, "--name", "t", "--local", "2", "--force") == 2
    assert "No space left" in capsys.readouterr().err
    assert (tmp_path / "t.toml").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.toml"]


def test_a_file_that_comes_up_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def meanwhile(handle: int) -> None:
        (tmp_path / "t.toml").write_text("theirs")
        real(handle)

    monkeypatch.setattr(os, "fsync", meanwhile)
    assert here(monkeypatch, tmp_path, "--name", "t", "--local", "2") == 2
    assert (tmp_path / "t.toml").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["t.toml"]


def test_where_links_cannot_be_made_the_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_one: Path, _other: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", never)
    assert here(monkeypatch, tmp_path, "--name", "t", "--local", "2") == 0
    assert load_profile(tmp_path / "t.toml").name == "t"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    ran = init(tmp_path, "none/t.toml", "--name", "t", "--local", "2")
    assert ran.returncode == 2
    assert "none/t.toml cannot be written: No such file" in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--local", "0"], "1 to 8"),
        (["--local", "9"], "1 to 8"),
        (["--model", "/m", "--host", "a"], "NAME=[USER@]HOST"),
        (["--model", "/m", "--host", "a=h"], "NAME=[USER@]HOST"),
        (["--model", "/m", "--host", "a=h,10.0.0.1,12 GiB,x"], "NAME=[USER@]HOST"),
        (["--model", "/m", "--host", "a=h,mini.local"], "hosts[0].address"),
        (["--model", "/m", "--host", "a=h,10.0.0.1,12"], "hosts[0].memory"),
        (["--model", "here", "--local", "1"], "model"),
        (["--local", "1", "--context", "3"], "ring.context"),
        (["--local", "1", "--objective", "speed"], "ring.objective"),
        (["--local", "2", "--port", "8100"], "api.port"),
    ],
)
def test_a_profile_that_would_be_refused_is_not_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    assert here(monkeypatch, tmp_path, "--name", "t", *arguments) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_local_ranks_and_hosts_together_are_a_usage_error(tmp_path: Path) -> None:
    ran = init(tmp_path, "--name", "t", "--local", "2", "--host", "a=h,10.0.0.1")
    assert ran.returncode == 2 and "not allowed with" in ran.stderr


def test_a_small_context_goes_with_the_automatic_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here(monkeypatch, tmp_path, "--name", "t", "--local", "1", "--context", "64") == 0
    ring = load_profile(tmp_path / "t.toml").ring
    assert (ring.context, ring.prefill_chunk) == (64, 0)


def test_on_a_terminal_empty_answers_make_a_local_ring(tmp_path: Path) -> None:
    code, out, err = answering(tmp_path, ["trial", "", "", "", ""])
    assert (code, out) == (0, "trial.toml\n"), err
    profile = load_profile(tmp_path / "trial.toml")
    assert (profile.name, profile.model, len(profile.hosts)) == ("trial", "demo", 2)
    assert "Name of the ring" in err and "this machine" in err


def test_on_a_terminal_hosts_are_asked_for_one_by_one(tmp_path: Path) -> None:
    first = ["studio", "op@studio.local", "192.168.5.1", "48 GiB"]
    second = ["", "op@mini.local:2222", "192.168.5.2", ""]
    code, out, err = answering(tmp_path, ["macs", "2", "n", *first, *second, "~/models/m", "4096"])
    assert (code, out) == (0, "macs.toml\n"), err
    profile = load_profile(tmp_path / "macs.toml")
    assert [host.name for host in profile.hosts] == ["studio", "host1"]
    assert [host.ssh for host in profile.hosts] == ["op@studio.local", "op@mini.local:2222"]
    assert [host.memory_bytes for host in profile.hosts] == [48 * GIB, None]
    assert (profile.model, profile.ring.context) == ("~/models/m", 4096)


def test_a_wrong_answer_is_asked_again_with_the_reason(tmp_path: Path) -> None:
    wrong_first = ["a b", "t", "99", "2", "perhaps", "n"]
    one = ["", "-x", "op@one", "one.local", "10.0.0.1", "12", "12 GiB"]
    two = ["host0", "two", "op@two", "10.0.0.1", "10.0.0.2", ""]
    code, _, err = answering(tmp_path, [*wrong_first, *one, *two, "demo", "/m", "five", "64"])
    assert code == 0, err
    for reason in ("a name of letters", "1 to 8", "y, n", "[user@]host", "resolves no names", "GiB"):
        assert reason in err
    assert err.count("another host has that already") == 2
    assert "the demo model is made on this machine only" in err and "whole number" in err
    profile = load_profile(tmp_path / "t.toml")
    assert [host.address for host in profile.hosts] == ["10.0.0.1", "10.0.0.2"]
    assert (profile.model, profile.ring.context) == ("/m", 64)


def test_only_what_the_flags_leave_open_is_asked(tmp_path: Path) -> None:
    code, _, err = answering(tmp_path, ["t"], "--local", "2", "--context", "512")
    assert code == 0, err
    assert "Name" in err and "Model" not in err and "Context" not in err


def test_answers_that_end_early_write_nothing(tmp_path: Path) -> None:
    code, out, err = answering(tmp_path, ["t", "2"], end=True)
    assert (code, out) == (2, "")
    assert "nothing was written" in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_help_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*INIT, "--help"], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True, timeout=30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 0.5, "a quarter of a second on an idle machine"


def test_weights_from_the_hub_are_written_and_a_way_that_does_not_fit_the_model_is_refused(
    tmp_path: Path,
) -> None:
    host = ("--host", "mini1=op@mini1.local,192.168.5.1")
    made = init(tmp_path, "--name", "t", "--model", "owner/toy", "--weights", "hub", *host)
    assert made.returncode == 0, made.stderr
    assert load_profile(tmp_path / "t.toml").weights == "hub"
    refused = init(tmp_path, "two.toml", "--name", "t", "--model", "owner/toy", "--weights", "push", *host)
    assert refused.returncode == 2 and "weights" in refused.stderr


def test_bits_of_caches_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "ring.toml"
    assert main(["init", str(path), "--name", "t", "--local", "2", "--kv-bits", "8"]) == 0
    assert load_profile(path).cache.kv_bits == 8
    assert "kv_bits" in path.read_text()
    done = init(tmp_path, "other.toml", "--name", "t", "--local", "2", "--kv-bits", "5")
    assert done.returncode == 2 and "one of 4, 8, 16" in done.stderr
    assert not (tmp_path / "other.toml").exists()

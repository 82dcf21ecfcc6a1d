"""Every action on hosts is in the operator's audit log: when, where, what, how it ended. No secret is."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from console.audit import KEPT, Action, Audit, audit_file, last_actions
from console.cluster.ssh import connect
from ringcore.spec.errors import HostError, MlxringError
from tests.cluster.reach import options, served


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit("minis", tmp_path / "state" / "audit.log")


async def test_what_is_done_on_a_host_is_told_with_its_exit_code(tmp_path: Path, audit: Audit) -> None:
    server = served(tmp_path / "home")
    host = await connect(options(), await server.start(), audit=audit)
    await host.run(["/bin/sh", "-c", "exit 3"])
    await host.run(["/bin/echo", "a b", "\nx"], env={"HF_TOKEN": "hf_abc"}, stdin=b"typed secret")
    with pytest.raises(HostError):
        await host.run(["/bin/sleep", "60"], timeout=0.2)
    await host.write(str(tmp_path / "home" / "secret"), b"deadbeef", mode=0o600)
    await host.close()
    await server.close()
    told = last_actions("h1", path=audit.path)
    assert [action.exit for action in told] == [0, 3, 0, -1, 0]
    assert told[0].command.startswith("ssh operator@[127.0.0.1]:")
    assert told[1].command == "/bin/sh -c 'exit 3'"
    assert told[2].command == r"HF_TOKEN=*** /bin/echo 'a b' '\nx'"
    assert told[4].command.endswith(f"{tmp_path / 'home' / 'secret'} 600 8")
    assert all(action.ring == "minis" and action.where.startswith("operator@") for action in told)
    text = audit.path.read_text()
    assert not any(secret in text for secret in ("hf_abc", "typed secret", "deadbeef"))
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(audit.path.parent.stat().st_mode) == 0o700


async def test_a_login_that_fails_is_told_too(tmp_path: Path, audit: Audit) -> None:
    with pytest.raises(HostError):
        await connect(options(ssh="op@127.0.0.1:1"), audit=audit)
    (only,) = last_actions("h1", path=audit.path)
    assert (only.command, only.exit) == ("ssh op@[127.0.0.1]:1", 255)


async def test_what_runs_for_as_long_as_the_console_is_told_when_it_begins(
    tmp_path: Path, audit: Audit
) -> None:
    server = served(tmp_path / "home")
    host = await connect(options(), await server.start(), audit=audit)
    async with host.stream(["/bin/cat"], timeout=0) as there:
        assert last_actions("h1", path=audit.path)[-1].running
        await there.close()
    await host.close()
    await server.close()
    last = last_actions("h1", path=audit.path)[-1]
    assert (last.command, last.exit, last.running) == ("/bin/cat", 0, False)


async def test_an_action_that_is_broken_off_is_told(tmp_path: Path, audit: Audit) -> None:
    server = served(tmp_path / "home")
    host = await connect(options(), await server.start(), audit=audit)
    running = asyncio.create_task(host.run(["/bin/sleep", "60"]))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await host.close()
    await server.close()
    assert last_actions("h1", path=audit.path)[-1].exit in (-1, 255)


def test_a_script_is_written_once_whole_and_named_afterwards(audit: Audit) -> None:
    script = "echo one\necho two\n"
    for argument in ("a", "b"):
        audit.begin("h1", "op@h", ["/bin/sh", "-c", script, "sh", argument]).end(0)
    first, *rest = lines(audit.path)
    assert first["script"] == script
    assert [line["command"] for line in rest] == [
        f"/bin/sh -c {first['command']} sh {argument}" for argument in "ab"
    ]


def test_a_script_of_an_interpreter_is_named_like_one_of_the_shell(audit: Audit) -> None:
    script = "import sys\nprint(sys.argv)\n"
    for _ in range(2):
        audit.begin("h1", "op@h", ["/usr/bin/python3", "-I", "-c", script, "receive", "/m"]).end(0)
    first, *named = lines(audit.path)
    assert first["script"] == script
    assert [each["command"] for each in named] == [
        f"/usr/bin/python3 -I -c {first['command']} receive /m"
    ] * 2


def test_a_program_among_the_arguments_of_a_script_is_named_too(audit: Audit) -> None:
    probe = "import json\n" * 40
    audit.begin("h1", "op@h", ["/bin/sh", "-c", "exec\n", "sh", "a\nb", probe]).end(0)
    shell, program, told = lines(audit.path)
    assert (shell["script"], program["script"]) == ("exec\n", probe)
    assert told["command"] == f"/bin/sh -c {shell['command']} sh 'a\\nb' {program['command']}"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["pip", "--index-url", "https://me:pw@index/simple"], "pip --index-url https://***@index/simple"),
        (["x", "--token", "abc", "hf_ABCDEFGHIJKLMNOPQRST"], "x --token *** ***"),
        (["x", "--password=abc"], "x --password=***"),
        (["x", f"mlxring-{'aB-_' * 10}", "sk-ABCDEFGHIJKLMNOPQRST"], "x *** ***"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(audit: Audit, argv: list[str], told: str) -> None:
    audit.begin("h1", "op@h", argv).end(0)
    assert lines(audit.path)[-1]["command"] == told


def test_no_word_can_pretend_to_be_another_line(audit: Audit) -> None:
    audit.begin("h1", "op@h", ["/bin/echo", '\n{"host": "h1"}\x1b[2J']).end(0)
    assert len(audit.path.read_text().splitlines()) == 1
    assert "\x1b" not in audit.path.read_text()


def test_it_is_rotated_and_read_across_the_files(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.audit.MOST_BYTES", 2000)
    for number in range(100):
        audit.begin("h1", "op@h", ["/bin/echo", str(number)]).end(0)
    files = sorted(path.name for path in audit.path.parent.iterdir())
    assert files == ["audit.log", *(f"audit.log.{number}" for number in range(1, KEPT + 1))]
    assert all(path.stat().st_size <= 2000 for path in audit.path.parent.iterdir())
    told = [action.command for action in last_actions("h1", 12, path=audit.path)]
    assert told == [f"/bin/echo {number}" for number in range(88, 100)]


def test_two_consoles_write_into_one_log(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.audit.MOST_BYTES", 3000)
    other = Audit("other", audit.path)
    for number in range(30):
        (audit, other)[number % 2].begin("h1", "op@h", [str(number)]).end(0)
    told = [int(action.command) for action in last_actions("h1", path=audit.path)]
    assert told == list(range(30))
    rings = {action.ring for action in last_actions("h1", ring="other", path=audit.path)}
    assert rings == {"other"}


def test_without_a_log_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    audit = Audit("minis", tmp_path / "file" / "audit.log")
    with pytest.raises(MlxringError, match=r"audit log .* cannot be written") as caught:
        audit.begin("h1", "op@h", ["first"])
    assert "XDG_STATE_HOME" in caught.value.failure.remedy


def test_a_log_that_cannot_be_written_any_more_stops_the_next_action(audit: Audit) -> None:
    first = audit.begin("h1", "op@h", ["first"])
    audit.path.unlink()
    audit.path.mkdir()
    first.end(0)
    with pytest.raises(MlxringError, match="audit log"):
        audit.begin("h1", "op@h", ["second"])
    audit.path.rmdir()
    audit.begin("h1", "op@h", ["third"]).end(0)
    assert [action.command for action in last_actions("h1", path=audit.path)] == ["third"]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, audit: Audit) -> None:
    audit.path.parent.mkdir()
    audit.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MlxringError, match="audit log"):
        audit.begin("h1", "op@h", ["first"])
    assert not (tmp_path / "elsewhere").exists()


def test_it_lies_in_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert audit_file({}) == tmp_path / ".local/state/mlxring/audit.log"
    assert audit_file({"XDG_STATE_HOME": "/s"}) == Path("/s/mlxring/audit.log")


def test_lines_that_make_no_sense_are_passed_over(audit: Audit) -> None:
    audit.begin("h1", "op@h", ["one"]).end(0)
    with audit.path.open("a") as file:
        file.write("half a li")
    assert [action.command for action in last_actions("h1", path=audit.path)] == ["one"]
    assert all(isinstance(action, Action) for action in last_actions("h1", path=audit.path))

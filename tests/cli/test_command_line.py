"""The command `mlxring` from outside: help, usage, exit codes, what it imports."""

import importlib
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from console.cli import COMMANDS, main
from console.defect import told


def mlxring(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "console", *arguments],
        capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL, cwd=cwd, env=env,
    )  # fmt: skip


def test_help_names_every_command_and_every_exit_code() -> None:
    ran = mlxring("--help")
    assert ran.returncode == 0
    for name in COMMANDS:
        assert f"\n    {name}" in ran.stdout
    for code in ("0 ", "2 ", "3 ", "4 ", "5 ", "6 ", "7 ", "8 ", "130"):
        assert f" {code}" in ran.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    ran = mlxring(name, "--help")
    assert ran.returncode == 0, ran.stderr
    assert COMMANDS[name][0][:30] in ran.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from console.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'textual', 'asyncssh', 'httpx', 'asyncio', 'mlx', 'tomlkit', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_console_works_where_mlx_is_not_installed() -> None:
    import console

    names = [m.name for m in pkgutil.walk_packages(console.__path__, "console.") if "__main__" not in m.name]
    code = (
        "import sys, importlib\n"
        "for name in ('mlx', 'mlx.core', 'mlx_lm', 'transformers'): sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(names) > 20


def test_no_arguments_print_the_help_and_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "mlxring PROFILE" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error_that_lists_the_known() -> None:
    ran = mlxring("launch")
    assert ran.returncode == 2
    assert "launch" in ran.stderr and "up" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_profile_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "ring").write_text("name = 3\n")
    for named in ("ring", "./ring", "none/ring"):
        ran = mlxring(named, cwd=tmp_path)
        assert ran.returncode == 2 and "remedy: " in ran.stderr and "usage" not in ran.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_configure_and_run(name: str) -> None:
    module = importlib.import_module(COMMANDS[name][1])
    assert callable(module.configure) and callable(module.run)


def test_a_defect_is_told_in_a_line_and_its_details_are_kept_for_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(arguments: object) -> int:
        raise ZeroDivisionError("by \x1b[31mzero")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("console.commands.models.run", broken)
    assert main(["models"]) == 1
    err = capsys.readouterr().err
    details = tmp_path / "mlxring" / "defect.txt"
    assert "unexpected ZeroDivisionError: by zero\n  remedy: " in err and str(details) in err
    assert "Traceback" not in err and "Traceback" in details.read_text()
    assert details.stat().st_mode & 0o777 == 0o600


def test_a_defect_is_told_also_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlxring").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert told(ValueError("x")).endswith("report what was typed")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_this_machines_trouble_and_no_defect(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "console", "models", "--only", "unknown"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            argv, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
            env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        )  # fmt: skip
    assert ran.returncode == 1 and "refused something: No space left on device" in ran.stderr
    assert "defect of" not in ran.stderr and "Traceback" not in ran.stderr


def test_output_that_is_closed_ends_no_command() -> None:
    argv = f"exec {sys.executable} -m console models --only unknown >&-"
    ran = subprocess.run(["sh", "-c", argv], stderr=subprocess.PIPE, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("command", [["open", "r.toml"], ["demo"]])
def test_the_console_is_not_drawn_where_there_is_no_terminal(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "r.toml").write_text(
        'name = "r"\nmodel = "demo"\n[[hosts]]\nname = "a"\nssh = "local"\naddress = "127.0.0.1"\n'
    )
    ran = mlxring(*command, cwd=tmp_path)
    assert ran.returncode == 2 and ran.stdout == ""
    assert "needs a terminal" in ran.stderr and "\x1b" not in ran.stderr


@pytest.mark.parametrize("command", ["init", "chat"])
def test_nothing_is_asked_where_standard_input_is_closed(tmp_path: Path, command: str) -> None:
    argv = f"exec {sys.executable} -m console {command} none.toml <&-"
    ran = subprocess.run(["sh", "-c", argv], capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert ran.returncode == 2 and "remedy: " in ran.stderr and "Traceback" not in ran.stderr


def test_a_reader_that_is_gone_ends_a_command_without_a_word() -> None:
    argv = f"{sys.executable} -m console models --only unknown | true; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", argv], capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (130, "")


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [("console.cli", -signal.SIGINT, ""), ("console.commands.models", 130, "mlxring: interrupted\n")],
)
def test_ctrl_c_while_modules_load_leaves_no_traceback(module: str, code: int, words: str) -> None:
    program = (
        "import os, signal, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Hook())\n"
        "sys.argv = ['mlxring', 'models']\n"
        "from console.__main__ import main\n"
        "sys.exit(main())"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (code, words)


def test_an_empty_question_starts_no_demo() -> None:
    ran = mlxring("demo", "--prompt", " ")
    assert ran.returncode == 2 and "there is no question" in ran.stderr


def test_the_exit_code_is_told_where_nobody_reads_the_message(tmp_path: Path) -> None:
    argv = (
        f"(read line; {sys.executable} -m console plan none.toml; echo $? >code) 2>&1 >/dev/null <go | true"
    )
    os.mkfifo(tmp_path / "go")
    with subprocess.Popen(["sh", "-c", argv], cwd=tmp_path) as ran:
        (tmp_path / "go").write_text("now\n")
        assert ran.wait(30) == 0
    assert (tmp_path / "code").read_text() == "2\n"


def test_what_a_terminal_cannot_show_ends_no_command(tmp_path: Path) -> None:
    ran = mlxring(
        "check", str(tmp_path / "größe.toml"), env=os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    )
    assert ran.returncode == 2 and "gr??e.toml: cannot be read" in ran.stderr


def test_a_new_host_key_is_taken_by_every_command_that_says_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag is offered by all of them; each must hand it on."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "r.toml").write_text(
        'name = "r"\nmodel = "/m"\n[[hosts]]\nname = "a"\nssh = "a"\naddress = "127.0.0.1"\n'
    )
    seen: dict[str, bool] = {}

    class Stop(Exception):
        pass

    for name in COMMANDS.keys() - {"demo", "init", "models"}:

        def told_to(*_: object, accept_new_host_keys: bool = False, name: str = name, **__: object) -> None:
            seen[name] = accept_new_host_keys
            raise Stop

        monkeypatch.setattr("console.compose.operator_for", told_to)
        monkeypatch.setattr("console.compose.open_console", told_to)
        monkeypatch.setattr("console.commands.terminal.need_screen", lambda instead: None)
        more = ["-p", "x"] if name == "chat" else []
        main([name, str(tmp_path / "r.toml"), "--accept-new-host-keys", *more])
    assert seen == dict.fromkeys(seen, True) and len(seen) == len(COMMANDS) - 3

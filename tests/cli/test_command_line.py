"""The command `mlxring` from outside: help, usage, exit codes, what it imports."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

from console.cli import COMMANDS, main


def mlxring(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "console", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_configure_and_run(name: str) -> None:
    module = importlib.import_module(COMMANDS[name][1])
    assert callable(module.configure) and callable(module.run)

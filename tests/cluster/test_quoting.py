"""Arguments reach a command as they are, whatever shell the account has and whatever it prints first."""

import shutil
import subprocess
import sys

import pytest

from console.cluster.quoting import Unframer, framed_command, quote

HOSTILE = [
    "plain",
    "",
    "two words",
    " lead and trail ",
    "; $(touch x)",
    "`touch x`",
    "a'b",
    'a"b',
    "'",
    "\\",
    "\\'",
    "it's a \\ 'mess' \\\\",
    "line\nbreak\n",
    "tab\there",
    "$HOME ~ * ? [a] {b,c} !x #y",
    "& | < > ( ) ^ %",
    "-n",
    "größe 重",
    "\x01\x7f",
]
SHELLS = [shell for shell in ("sh", "dash", "bash", "zsh", "fish", "ksh", "mksh") if shutil.which(shell)]
PRINT_ARGUMENTS = "import sys; sys.stdout.write(ascii(sys.argv[1:]))"


def through(shell: str, command: str, cwd: object = None) -> bytes:
    return subprocess.run([shell, "-c", command], capture_output=True, cwd=cwd, check=True).stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_every_argument_arrives_as_it_was_given(shell: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    command = framed_command([sys.executable, "-c", PRINT_ARGUMENTS, *HOSTILE], "mark")
    unframer = Unframer("mark")
    assert unframer.feed(through(shell, command, tmp_path)).decode() == ascii(HOSTILE)
    assert unframer.pid is not None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_environment_arrives_as_it_was_given(shell: str) -> None:
    read = "import os, sys; sys.stdout.write(ascii([os.environ[f'V{n}'] for n in range(int(sys.argv[1]))]))"
    env = {f"V{n}": value for n, value in enumerate(HOSTILE)}
    command = framed_command([sys.executable, "-c", read, str(len(env))], "mark", env)
    assert Unframer("mark").feed(through(shell, command)).decode() == ascii(HOSTILE)


def test_a_plain_word_stays_readable() -> None:
    assert quote("/usr/bin/env") == "/usr/bin/env"


def test_a_nul_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="NUL"):
        framed_command(["echo", "a\0b"], "mark")


def test_what_the_shell_prints_before_the_mark_is_dropped() -> None:
    unframer = Unframer("mark")
    assert unframer.feed(b"Welcome!\nno newline at the end") == b""
    assert unframer.noise == "Welcome!\nno newline at the end"
    assert unframer.feed(b"\nmark 17\nown\nmark 18\n") == b"own\nmark 18\n"
    assert unframer.pid == 17


def test_a_mark_that_comes_byte_by_byte_is_found() -> None:
    unframer = Unframer("mark")
    parts = [unframer.feed(bytes([byte])) for byte in b"hi\nmark 17\r\nown"]
    assert b"".join(parts) == b"own"


def test_a_line_that_only_mentions_the_mark_is_noise() -> None:
    unframer = Unframer("mark")
    assert unframer.feed(b"+ echo mark 17\nthe mark 3\n") == b""
    assert unframer.pid is None

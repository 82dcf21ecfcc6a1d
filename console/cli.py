"""The command `mlxring`: which command is meant, and what its errors turn into.

Imports only the module of the command that runs, and nothing heavy before it is needed, so that
``--help`` and completion stay quick.
"""

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ringcore import __version__

# name -> (what it does, module with `configure(parser)` and `run(arguments) -> exit code`)
COMMANDS: dict[str, tuple[str, str]] = {
    "open": ("open the console (the default when only a profile is named)", "console.commands.open"),
    "demo": ("a ring of ranks on this machine with a small model", "console.commands.demo"),
    "init": ("write a profile", "console.commands.init"),
    "check": ("is the profile right, are the hosts reachable, what are they", "console.commands.check"),
    "plan": ("which rank would hold which layers, and does it fit", "console.commands.plan"),
    "models": ("which model architectures can be cut into stages", "console.commands.models"),
    "provision": ("install what the hosts lack", "console.commands.provision"),
    "deploy": ("put code, plan and secret on the hosts", "console.commands.deploy"),
    "up": ("provision, deploy and start; returns when the ring serves", "console.commands.up"),
    "down": ("end ranks, gateway and agents on every host", "console.commands.down"),
    "status": ("what runs, where, how fast", "console.commands.status"),
    "cache": (
        "what is kept of earlier prompts and answers; export, import, clear it",
        "console.commands.cache",
    ),
    "logs": ("the logs of all ranks, merged by time", "console.commands.logs"),
    "chat": ("talk to the ring", "console.commands.chat"),
    "key": ("the key that clients of the API send", "console.commands.key"),
    "bench": ("how fast the ring is, and how busy each stage", "console.commands.bench"),
}

EXIT_CODES = """\
exit codes:
  0    done                       5    model or plan impossible
  1    unexpected error           6    the ring failed
  2    wrong usage or profile     7    the API refused or broke off
  3    a host cannot be reached   8    the ring does not run
  4    a host cannot be prepared  130  interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. A typed error is printed with its remedy, never a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    from ringcore.spec.errors import INTERRUPTED, MlxringError

    _use_what_the_terminal_can_show()
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as `console.__main__` has left it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = _run(given)
        sys.stdout.flush()
        return code
    except MlxringError as error:
        from console.logs.text import safe_text  # it may tell what a host said

        _tell(safe_text(str(error)))
        return error.failure.exit_code
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone; a message has nowhere to go
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge of the process: a defect of ours
        from console.defect import told

        _tell(told(error))
        return MlxringError.exit_code


def _tell(text: str) -> None:
    with suppress(OSError):  # nobody reads it; the exit code still says what happened
        sys.stderr.write(f"mlxring: {text}\n")


def _run(given: list[str]) -> int:
    name = _command(given)
    parser, subparser = _parsers(name)
    if name is None:
        parser.parse_args(given)
        parser.print_help()
        return 2
    module = importlib.import_module(COMMANDS[name][1])
    module.configure(subparser)
    return int(module.run(parser.parse_args(given)))


def _use_what_the_terminal_can_show() -> None:
    """A character that its encoding lacks becomes a question mark, and what was closed (``>&-``) takes all:
    neither ends a command."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _command(given: list[str]) -> str | None:
    """The command's name; puts ``open`` in front of a profile that is named alone."""
    if not given or given[0].startswith("-"):
        return None
    name = given[0]
    if name not in COMMANDS and (name.endswith(".toml") or "/" in name or Path(name).is_file()):
        given.insert(0, "open")
    return given[0] if given[0] in COMMANDS else None


def _parsers(name: str | None) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="mlxring",
        description="A console that turns two to eight machines into one MLX pipeline ring.",
        epilog=EXIT_CODES,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=28),
        usage="mlxring PROFILE | mlxring COMMAND ...",
    )
    parser.add_argument("--version", action="version", version=f"mlxring {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", prog="mlxring")
    wanted = parser
    for each, (summary, _) in COMMANDS.items():
        subparser = commands.add_parser(each, help=summary, description=summary)
        wanted = subparser if each == name else wanted
    return parser, wanted

"""``mlxring init [FILE]``: write a profile, from flags or from answers on a terminal.

Asks on stderr for what the flags leave open; the path of what was written goes to stdout. Nothing is
written unless the whole profile is right, and a file that is there is replaced only with ``--force``.
"""

import argparse
from pathlib import Path
from typing import Any

from console.commands.runtime import answer, say

HOST_FORM = "NAME=[USER@]HOST[:PORT],ADDRESS[,MEMORY]"
_RING_KEYS = ("backend", "order", "objective", "context", "sequences", "port")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="what to write (NAME.toml)")
    parser.add_argument("--name", help="the ring's name")
    parser.add_argument("--model", help='model folder, owner/name of the hub, or "demo" (default of --local)')
    parser.add_argument("--weights", help="how hosts come by their layers: auto, path, push or hub")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--host",
        action="append",
        metavar=HOST_FORM,
        help="a rank's host, repeatable, the leader first; ADDRESS is its IPv4 address on the ring's network",
    )
    where.add_argument("--local", type=int, metavar="N", help="N ranks on this machine")
    parser.add_argument("--context", type=int, metavar="TOKENS", help="tokens a sequence may reach")
    parser.add_argument("--sequences", type=int, metavar="N", help="sequences that may run at once")
    parser.add_argument("--kv-bits", type=int, metavar="BITS", help="of keys and values in caches: 8 or 4")
    parser.add_argument("--objective", help="throughput, latency, memory or equal")
    parser.add_argument("--order", help="reverse or forward")
    parser.add_argument("--backend", help="ring, jaccl, nccl or mpi")
    parser.add_argument("--port", type=int, help="first port of the ring")
    parser.add_argument("--api-port", type=int, metavar="PORT", help="port of the HTTP API")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--json", action="store_true", help="the answer as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    from console.commands.init_write import refuse_existing, write_profile
    from ringcore.spec.profile_file import profile_from, to_toml_data

    data = _from_flags(arguments)
    if arguments.file is not None and not arguments.force:
        refuse_existing(arguments.file)
    if _missing(data):
        from console.commands.terminal import types_here

        if not types_here():
            raise _usage(_missing(data))
        from console.commands.init_ask import ask

        data = ask(data)
    path: Path = arguments.file or Path(f"{data['name']}.toml")
    profile = profile_from(data, str(path))
    written = to_toml_data(profile)
    write_profile(path, written, replace=arguments.force)
    if arguments.json:
        answer({"ok": True, "path": str(path), "profile": written})
    else:
        say(str(path))
    return 0


def _from_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """The file's data as far as the flags say it."""
    from ringcore.spec.profile import DEMO_MODEL

    data: dict[str, Any] = {}
    if arguments.name is not None:
        data["name"] = arguments.name
    if arguments.model is not None:
        data["model"] = arguments.model
    elif arguments.local is not None:
        data["model"] = DEMO_MODEL
    if arguments.weights is not None:
        data["weights"] = arguments.weights
    ring = {key: getattr(arguments, key) for key in _RING_KEYS if getattr(arguments, key) is not None}
    if ring:
        data["ring"] = ring
    if arguments.api_port is not None:
        data["api"] = {"port": arguments.api_port}
    if arguments.kv_bits is not None:
        data["cache"] = {"kv_bits": arguments.kv_bits}
    if arguments.local is not None:
        data["hosts"] = local_hosts(arguments.local)
    elif arguments.host:
        data["hosts"] = [parse_host(text) for text in arguments.host]
    return data


def local_hosts(count: int) -> list[dict[str, Any]]:
    """Data of ``count`` ranks on this machine."""
    from ringcore.spec.errors import ProfileError
    from ringcore.spec.profile import LOCAL

    if not 1 <= count <= 8:
        raise ProfileError(f"--local {count}: expected 1 to 8 ranks", "write --local 2")
    return [{"name": f"local{n + 1}", "ssh": LOCAL, "address": "127.0.0.1"} for n in range(count)]


def parse_host(text: str) -> dict[str, Any]:
    """``NAME=[USER@]HOST[:PORT],ADDRESS[,MEMORY]`` as data of a host; what the parts say is not checked
    here. Raises `ProfileError` for another form."""
    from ringcore.spec.errors import ProfileError

    name, equals, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(",")]
    if not equals or not name.strip() or len(parts) not in (2, 3) or not all(parts):
        raise ProfileError(
            f"--host {text!r}: expected {HOST_FORM}",
            "write it as in --host mini1=operator@mini1.local,192.168.5.1,'12 GiB'",
        )
    host = {"name": name.strip(), "ssh": parts[0], "address": parts[1]}
    return host | ({"memory": parts[2]} if len(parts) == 3 else {})


def _missing(data: dict[str, Any]) -> list[str]:
    flags = {"name": "--name NAME", "model": "--model FOLDER", "hosts": f"--host {HOST_FORM} (or --local N)"}
    return [flag for key, flag in flags.items() if key not in data]


def _usage(missing: list[str]) -> Exception:
    from ringcore.spec.errors import ProfileError

    return ProfileError(
        f"not enough to write a profile: {', '.join(missing)} missing, and there is no terminal to ask on",
        "add these flags, as in `mlxring init --name trial --local 2`",
    )

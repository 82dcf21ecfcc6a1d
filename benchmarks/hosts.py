"""How long three bare hosts take to the first token over OpenSSH, and how long the second time.

    python -m benchmarks.hosts [--rounds N] [--out FILE]

The hosts are those of the tests (network namespaces of this machine, see `tests.hosts.room`) and have no way
to a package index: packages are fetched to this machine first (``fetch``), then sent to each host. As root.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from console.cluster.lock import lock_text
from console.cluster.pythons import parse_probe, probe_argv
from console.cluster.wheelhouse import PLATFORM_PROBE, Wheelhouse, parse_platform
from console.cluster.wheels import requirements_for
from console.demo.cache import user_cache
from console.demo.model import demo_model
from tests.hosts.needs import missing
from tests.hosts.room import Room, RoomOperator

PROMPT = ("chat", "-p", "Name the capital of France.", "--json")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="times from bare to the first token (3)")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    arguments = parser.parse_args()
    if lacking := missing():
        sys.exit(lacking)
    model = asyncio.run(demo_model(user_cache(), lambda part, text: None))
    with tempfile.TemporaryDirectory(prefix="hosts-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        fetch = asyncio.run(fetch_packages(folder / "cache" / "mlxring" / "wheels"))
        rounds: list[dict[str, float]] = []
        room = Room(folder, model)
        try:
            for number in range(arguments.rounds):
                rounds.append(one_round(room))
                print(f"round {number + 1}: {told(rounds[-1])}", flush=True)
                room.clear()
        finally:
            room.close()
    median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    print(f"fetch {fetch:.1f} s; medians: {told(median)}")
    if arguments.out is not None:
        figures = {"hosts": 3, "fetch_seconds": fetch, "rounds": rounds, "median": median}
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


async def fetch_packages(root: Path) -> float:
    """Seconds to have the packages of this machine's own base interpreter here; hosts run the same one."""
    python = str(Path(sys.base_prefix) / "bin" / "python3")
    ask = [python, "-I", "-c", PLATFORM_PROBE]
    platform = parse_platform(await asyncio.to_thread(output, ask))
    interpreter = parse_probe(await asyncio.to_thread(output, probe_argv(python)))
    assert platform is not None and interpreter is not None, f"{python} does not work"
    began = time.monotonic()
    lock = lock_text()
    await Wheelhouse(root).fill(
        lock, requirements_for(lock, interpreter.environment), platform, lambda part, text: None
    )
    return time.monotonic() - began


def one_round(room: Room) -> dict[str, float]:
    """Seconds of each command; ``bare`` and ``again`` are from `up` to the first token of an answer."""
    operator = RoomOperator(room.folder, room.model, 3, room=room)
    for host in operator.hosts:
        del host["python"]  # so that each makes an environment of its own
    operator.write()
    check = timed(operator, "check")
    up = timed(operator, "up", "--offline")
    bare = up + first_token(operator)
    down = timed(operator, "down")
    provision = timed(operator, "provision", "--offline")
    up_again = timed(operator, "up", "--offline")
    again = up_again + first_token(operator)
    timed(operator, "down", "--purge")
    return {
        "check": check, "up": up, "bare": bare, "down": down, "provision_again": provision,
        "up_again": up_again, "again": again,
    }  # fmt: skip


def timed(operator: RoomOperator, *words: str) -> float:
    ran = operator.run(*words, timeout=900)
    if ran.code:
        sys.exit(f"{' '.join(words)}: {ran.err}")
    return ran.seconds


def first_token(operator: RoomOperator) -> float:
    """From the command to the first token: what comes after it is taken off."""
    ran = operator.run(*PROMPT)
    if ran.code:
        sys.exit(f"chat: {ran.err}")
    figures = json.loads(ran.out)["figures"]
    after = (figures["completion_tokens"] - 1) / max(figures["tokens_per_second"], 1e-9)
    return max(ran.seconds - after, figures["first_token_seconds"])


def output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def told(figures: dict[str, float]) -> str:
    return ", ".join(f"{key} {seconds:.1f} s" for key, seconds in figures.items())


if __name__ == "__main__":
    main()

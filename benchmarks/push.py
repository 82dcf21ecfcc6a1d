"""Weights sent by the console beside ``scp`` of the same bytes, to OpenSSH on a host in a network namespace.

    python -m benchmarks.push                          # as root; 512 MiB, 5 rounds
    python -m benchmarks.push --mib 64 --rounds 2      # does it all work

Rounds are interleaved, every round of every contender starts with an empty folder, and the same key and
server serve all. Writes all values with medians to ``push.json``, a table to stdout. ``scp`` neither sums nor
syncs what it writes; the console does both, at both ends.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import msgspec

from benchmarks.machine import commit, describe, load, versions
from console.cluster.ssh import SshHost
from console.cluster.weights_local import LocalModel, Piece, Sums
from console.cluster.weights_push import Push
from ringcore.spec.profile import HostOptions
from ringcore.spec.shard import Shard
from ringcore.spec.units import MIB
from tests.checkpoint.files import write
from tests.hosts.machine import Machine
from tests.hosts.needs import key_pair, missing
from tests.hosts.network import Network, alone_in_a_network, within

HERE, THERE = "10.77.0.129", "10.77.0.131"
LAYERS = 16
SHARE = Shard(0, LAYERS // 2, LAYERS)  # of a model of which the host holds one half
CIPHERS = ("chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com")
Contender = Callable[[], Awaitable[int]]


def main() -> int:
    asked = _arguments()
    if asked.inside:
        return asyncio.run(_measure(asked))
    if lacking := missing():
        raise SystemExit(lacking)
    folder = Path(tempfile.mkdtemp(prefix="push-"))
    network, operator = Network(), alone_in_a_network()
    host = None
    try:
        folder.chmod(0o755)
        _model(folder / "model", asked.mib * 2)
        host = Machine(
            "first", folder / "first", "/bin/dash", folder / "model", 61001,
            sshd="Subsystem sftp internal-sftp",
        )  # fmt: skip
        network.connect("office", operator.pid, "eth0", HERE)
        network.connect("office", host.pid, "office", THERE)
        key_pair(folder / "key")
        host.authorize(folder / "key")
        (folder / "known_hosts").write_text(f"{THERE} {host.public_key()}\n")
        words = [sys.executable, "-m", "benchmarks.push", *sys.argv[1:], "--inside", str(folder)]
        return subprocess.run([*within(operator.pid), *words], check=False).returncode
    finally:
        if host is not None:
            host.close()
        operator.kill()
        operator.wait(10)
        network.close()
        shutil.rmtree(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.push", description=__doc__.split("\n")[0])
    parser.add_argument("--mib", type=int, default=512, help="of the host's share (512)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", default="1,2,4", help="how many at once (1,2,4)")
    parser.add_argument("--out", type=Path, default=Path("push.json"))
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _model(folder: Path, mib: int) -> None:
    """Random bytes in the shape of a model: equal layers in one file, an embedding, a norm, a head."""
    folder.mkdir()
    width = 1024
    rows = mib * MIB // (LAYERS * 4 * width)
    tensors = {f"model.layers.{number}.mlp.weight": ("F32", (rows, width)) for number in range(LAYERS)}
    tensors |= {
        "model.embed_tokens.weight": ("F32", (64, width)),
        "model.norm.weight": ("F32", (1, width)),
        "lm_head.weight": ("F32", (64, width)),
    }
    path = write(folder / "model.safetensors", tensors)
    size = path.stat().st_size
    body = sum(4 * shape[0] * shape[1] for _, shape in tensors.values())
    random = Random(1)
    with path.open("r+b") as file:
        file.seek(size - body)
        for start in range(0, body, MIB):
            file.write(random.randbytes(min(MIB, body - start)))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": LAYERS}))


async def _measure(asked: argparse.Namespace) -> int:
    import asyncssh

    before = load()
    folder: Path = asked.inside
    pieces = LocalModel(folder / "model").pieces(SHARE, tokenizer=False)
    share = sum(span.size for piece in pieces for span in piece.spans)
    copies = folder / "share"
    copies.mkdir()
    for piece in pieces:
        with (copies / piece.name).open("wb") as file:
            file.writelines(piece.blocks())
    connections = {
        cipher: await asyncssh.connect(
            THERE, username="op-first", client_keys=[str(folder / "key")],
            known_hosts=str(folder / "known_hosts"), config=None, encryption_algs=[cipher],
        )
        for cipher in CIPHERS
    }  # fmt: skip

    def pushing(cipher: str, streams: int) -> Contender:
        return lambda: _push(SshHost(_options(), connections[cipher]), pieces, streams, folder)

    contenders: dict[str, Contender] = {
        "scp": lambda: _scp(folder, copies),
        "scp, aes128-gcm": lambda: _scp(folder, copies, "-c", CIPHERS[1]),
        "push, 2 streams, chacha20-poly1305": pushing(CIPHERS[0], 2),
    }
    for streams in asked.streams.split(","):
        contenders[f"push, {streams} streams, aes128-gcm"] = pushing(CIPHERS[1], int(streams))
    contenders["asyncssh sftp, 128 requests at once"] = lambda: _sftp(connections[CIPHERS[1]], copies, share)
    values: dict[str, list[float]] = {name: [] for name in contenders}
    sent: dict[str, int] = {}
    for number in range(asked.rounds):
        for name, act in contenders.items():
            shutil.rmtree(folder / "first" / "home" / "into", ignore_errors=True)
            os.sync()
            began = time.perf_counter()
            sent[name] = await act()
            values[name].append(share / (time.perf_counter() - began) / MIB)
            print(f"round {number + 1}  {name:<45} {values[name][-1]:7.1f} MiB/s", file=sys.stderr)
    for connection in connections.values():
        connection.close()
    _report(asked, share, before, values, sent)
    return 0


def _options() -> HostOptions:
    return HostOptions(name="first", ssh=f"op-first@{THERE}", address=THERE)


async def _push(host: SshHost, pieces: tuple[Piece, ...], streams: int, folder: Path) -> int:
    sent = 0

    def moved(count: int) -> None:
        nonlocal sent
        sent += count

    push = Push(host, sys.executable, "/home/op-first/into", Sums(folder / "sums.json"), streams)
    transfers, remove = await push.look(pieces)
    await push.send(transfers, remove, moved)
    return sent


async def _scp(folder: Path, copies: Path, *more: str) -> int:
    options = (
        "IdentitiesOnly=yes",
        f"IdentityFile={folder / 'key'}",
        f"UserKnownHostsFile={folder / 'known_hosts'}",
    )
    words = [word for option in options for word in ("-o", option)]
    process = await asyncio.create_subprocess_exec(
        "scp", "-q", "-r", "-F", "none", *more, *words, str(copies), f"op-first@{THERE}:into"
    )
    if await process.wait():
        raise SystemExit("scp failed")
    return await asyncio.to_thread(lambda: sum(path.stat().st_size for path in copies.iterdir()))


async def _sftp(connection: object, copies: Path, share: int) -> int:
    async with connection.start_sftp_client() as client:  # type: ignore[attr-defined]
        await client.put(str(copies), "into", recurse=True, max_requests=128, block_size=32 << 10)
    return share


def _report(
    asked: argparse.Namespace,
    share: int,
    before: float,
    values: dict[str, list[float]],
    sent: dict[str, int],
) -> None:
    reference = statistics.median(values["scp"])
    print(f"{'':<45}  MiB/s (lowest..highest)   / scp   bytes / share")
    for name, rates in values.items():
        middle = statistics.median(rates)
        print(
            f"{name:<45} {middle:6.1f} ({min(rates):.1f}..{max(rates):.1f}){middle / reference:>11.2f}"
            f"{sent[name] / share:>12.5f}"
        )
    result = {
        "machine": msgspec.to_builtins(describe((), (), before)),
        "versions": versions(),
        "commit": commit(),
        "share_bytes": share,
        "rounds": asked.rounds,
        "mib_per_second": values,
        "median": {name: statistics.median(rates) for name, rates in values.items()},
        "against_scp": {name: statistics.median(rates) / reference for name, rates in values.items()},
        "bytes_sent": sent,
    }
    asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""Weights sent to a host: only its share, whole, resumed, summed at both ends, and only what it lacks."""

import fcntl
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from console.cluster.ssh import SshHost
from console.cluster.weights_local import LocalModel, Piece, Span, Sums
from console.cluster.weights_push import Listing, Push, Transfer, missing, superfluous
from ringcore.checkpoint.survey import read_header, survey
from ringcore.spec.errors import HostError, PlanError, ProvisionError
from ringcore.spec.shard import Shard
from tests.checkpoint.files import write
from tests.cluster.reach import reached, until

LAYERS = 4
FIRST, LAST = Shard(0, 2, LAYERS), Shard(2, 4, LAYERS)
WHOLE = Shard(0, LAYERS, LAYERS)
ROWS, WIDTH = 300, 500


def model(folder: Path, *, seed: int = 0, rows: int = ROWS) -> Path:
    """Two files of weights with different bytes everywhere, a config and what a tokenizer has."""
    folder.mkdir(parents=True)
    names = ["model.embed_tokens.weight", *(f"model.layers.{n}.mlp.weight" for n in range(LAYERS))]
    names += ["model.norm.weight", "lm_head.weight"]
    half = len(names) // 2
    for number, part in enumerate((names[:half], names[half:])):
        path = write(folder / f"model-{number}.safetensors", {name: ("F32", (rows, WIDTH)) for name in part})
        body = len(part) * rows * WIDTH * 4
        path.write_bytes(path.read_bytes()[:-body] + Random(f"{seed}.{number}").randbytes(body))
    config = {"model_type": "llama", "num_hidden_layers": LAYERS}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "model.py").write_text("raise SystemExit")
    return folder


class Sender:
    """Pushes from ``local`` to the folder ``there`` on a host, and counts what goes out."""

    def __init__(self, host: SshHost, local: Path, there: Path, sums: Path, streams: int = 2) -> None:
        self.model = LocalModel(local)
        self.there = there
        self.sent = 0
        self.sums = Sums(sums)
        self.push = Push(host, sys.executable, str(there), self.sums, streams)

    def moved(self, count: int) -> None:
        self.sent += count

    async def run(self, shard: Shard, *, tokenizer: bool = False) -> Sequence[Transfer]:
        pieces = self.model.pieces(shard, tokenizer=tokenizer)
        self.sent = 0
        transfers, remove = await self.push.look(pieces)
        await self.push.send(transfers, remove, self.moved)
        self.sums.save(pieces)
        return transfers


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return model(tmp_path / "local" / "toy")


@pytest.fixture
def sender(host: SshHost, local: Path, tmp_path: Path) -> Sender:
    return Sender(host, local, tmp_path / "home" / "models" / "toy", tmp_path / "sums.json")


def data_of(folder: Path) -> dict[str, bytes]:
    """Tensor name -> its bytes, by the files' own headers."""
    found = {}
    for path in folder.glob("model*.safetensors"):
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        for name, entry in json.loads(raw[8 : 8 + length]).items():
            if name != "__metadata__":
                start, end = entry["data_offsets"]
                found[name] = raw[8 + length + start : 8 + length + end]
    return found


async def test_a_host_gets_the_tensors_of_its_layers_byte_for_byte_and_nothing_else(
    sender: Sender, local: Path
) -> None:
    await sender.run(FIRST)
    whole, share = data_of(local), data_of(sender.there)
    assert set(share) == {
        "model.embed_tokens.weight",
        "model.layers.0.mlp.weight",
        "model.layers.1.mlp.weight",
    }
    assert all(share[name] == whole[name] for name in share)
    assert {path.name for path in sender.there.iterdir() if path.suffix == ".json"} == {"config.json"}
    assert sender.sent <= 1.01 * sum(map(len, share.values()))
    assert survey(sender.there)["ok"]


async def test_the_leader_gets_the_tokenizer_too_but_no_code(sender: Sender) -> None:
    await sender.run(LAST, tokenizer=True)
    assert (sender.there / "tokenizer.json").read_text() == '{"version": "1.0"}'
    assert not list(sender.there.glob("*.py"))
    assert "lm_head.weight" in data_of(sender.there)


async def test_a_second_run_sends_nothing_and_reads_no_weights_here(
    sender: Sender, host: SshHost, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sender.run(FIRST)
    again = Sender(host, local, sender.there, tmp_path / "sums.json")

    def read(_piece: Piece, _start: int = 0) -> Any:
        raise AssertionError("read again")

    monkeypatch.setattr(Piece, "blocks", read)
    assert await again.run(FIRST) == ()
    assert again.sent == 0


async def test_another_plan_moves_only_the_layers_that_are_not_there_yet(sender: Sender) -> None:
    await sender.run(FIRST)
    transfers = await sender.run(Shard(0, 3, LAYERS))
    assert [transfer.piece.name for transfer in transfers] == ["model-layer-0002.safetensors"]
    assert set(data_of(sender.there)) >= {f"model.layers.{n}.mlp.weight" for n in range(3)}


async def test_a_model_of_the_same_shapes_with_other_weights_is_sent_anew(
    sender: Sender, host: SshHost, tmp_path: Path
) -> None:
    await sender.run(FIRST)
    other = model(tmp_path / "other" / "toy", seed=1)
    await Sender(host, other, sender.there, tmp_path / "sums.json").run(FIRST)
    share, whole = data_of(sender.there), data_of(other)
    assert all(share[name] == whole[name] for name in share)


async def test_a_push_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    there = tmp_path / "home" / "models" / "toy"
    local = model(tmp_path / "local" / "toy", rows=6000)  # more in a file than is ever on its way
    async with reached(tmp_path / "home") as host:
        sender = Sender(host, local, there, tmp_path / "sums.json", streams=1)

        def cut(_count: int) -> None:
            with suppress(FileNotFoundError):  # one that is complete gets its name
                if any(path.stat().st_size > 100_000 for path in there.glob("*.part")):
                    host._connection.abort()

        sender.moved = cut  # type: ignore[method-assign]
        with pytest.raises(HostError, match="h1"):
            await sender.run(FIRST)
    await until(lambda: not left_open(there))
    (left,) = there.glob("*.part")
    assert not list(there.glob("*.safetensors"))
    size = left.stat().st_size
    async with reached(tmp_path / "home") as host:
        again = Sender(host, local, there, tmp_path / "sums.json")
        transfers = await again.run(FIRST)
    assert {f"{each.piece.name}.part": each.start for each in transfers if each.start} == {left.name: size}
    assert again.sent == sum(transfer.size for transfer in transfers)
    whole, share = data_of(local), data_of(there)
    assert share and all(share[name] == whole[name] for name in share)
    assert not list(there.glob("*.part"))


def left_open(folder: Path) -> bool:
    """Whether a receiver still runs for ``folder``."""
    return any(str(folder) in (process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))


async def test_what_another_model_left_half_way_is_noticed_by_its_sum_and_sent_from_the_beginning(
    sender: Sender, local: Path
) -> None:
    sender.there.mkdir(parents=True)
    (sender.there / "model-layer-0000.safetensors.part").write_bytes(b"x" * 5000)
    transfers = await sender.run(FIRST)
    assert [transfer.start for transfer in transfers if "layer-0000" in transfer.piece.name] == [5000]
    whole = data_of(local)
    share = data_of(sender.there)
    assert all(share[name] == whole[name] for name in share)


async def test_a_file_that_changes_while_it_is_sent_is_no_file_there(sender: Sender, tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"abc")
    piece = Piece("model-x.safetensors", b"", (Span(str(path), 0, 10),))
    with pytest.raises(ProvisionError, match="became shorter"):
        await sender.push.send([Transfer(piece)], (), sender.moved)
    assert not (sender.there / "model-x.safetensors").exists()


async def test_while_another_console_sends_a_file_nobody_else_does(sender: Sender, local: Path) -> None:
    sender.there.mkdir(parents=True)
    with (sender.there / "model-layer-0000.safetensors.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ProvisionError, match="another console is sending model-layer-0000"):
            await sender.run(FIRST)
    await sender.run(FIRST)
    assert survey(sender.there)["ok"]


async def test_a_folder_that_cannot_be_written_is_told_with_its_host(
    host: SshHost, local: Path, tmp_path: Path
) -> None:
    (tmp_path / "home" / "models").write_text("a file")
    sender = Sender(host, local, tmp_path / "home" / "models" / "toy", tmp_path / "sums.json")
    with pytest.raises(ProvisionError, match="models") as caught:
        await sender.run(FIRST)
    assert caught.value.failure.host == "h1" and caught.value.failure.remedy


def piece(name: str, size: int) -> Piece:
    return Piece(name, b"", (Span("/nowhere", 0, size),))


def test_only_what_is_there_whole_and_with_the_same_sum_is_not_sent() -> None:
    pieces = [piece("same", 10), piece("other", 10), piece("none", 10), piece("part", 10), piece("long", 10)]
    there = Listing(
        ok=True,
        files={"same": (10, "s"), "other": (10, "t"), "none": (10, "")},
        parts={"part": 4, "long": 11},
    )
    found = missing(pieces, there, lambda _: "s")
    assert {(transfer.piece.name, transfer.start) for transfer in found} == {
        ("other", 0), ("none", 0), ("part", 4), ("long", 0),
    }  # fmt: skip


def test_room_is_made_of_other_stages_weights_only_when_it_is_needed_and_enough() -> None:
    mib = 1 << 20
    wanted = [piece("model-new.safetensors", 500 * mib)]
    transfers = [Transfer(wanted[0])]
    old = {"model-old.safetensors": (200 * mib, "x"), "config.json": (9, "x")}
    assert superfluous(transfers, wanted, Listing(ok=True, free=600 * mib, files=old)) == ()
    assert superfluous(transfers, wanted, Listing(ok=True, free=400 * mib, files=old)) == (
        "model-old.safetensors",
    )
    assert superfluous(transfers, wanted, Listing(ok=True, free=300 * mib, files=old)) is None


def test_a_folder_without_a_model_here_is_told_as_this_machines(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="on this machine"):
        LocalModel(tmp_path / "none")
    local = model(tmp_path / "m")
    (local / "model-1.safetensors").write_bytes(b"cut")
    with pytest.raises(PlanError, match=r"on this machine: .*damaged"):
        LocalModel(local)


def test_every_piece_is_a_safetensors_file_of_its_own(local: Path, tmp_path: Path) -> None:
    for each in LocalModel(local).pieces(WHOLE, tokenizer=False):
        if each.name.endswith(".safetensors"):
            path = tmp_path / each.name
            path.write_bytes(b"".join(each.blocks()))
            assert list(read_header(path))
            assert b"".join(each.blocks(9)) == path.read_bytes()[9:]
            assert each.size == path.stat().st_size

"""A model's folder on this machine, cut into the files that hosts are sent: one for each unit of `share`.

Reads headers when it is made and data when it is asked for. Knows nothing of hosts.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from ringcore.checkpoint.survey import Tensor, Unreadable, json_object, read_places, weight_files
from ringcore.planning.share import reads, units, units_of_stage
from ringcore.spec.errors import PlanError
from ringcore.spec.shard import Shard

BLOCK = 1 << 20
_MOST_SUMS = 20_000
_ALIGNED = 8  # data begins at a multiple, as the format asks


class Span(Struct, frozen=True):
    """Bytes of a file here."""

    path: str
    offset: int
    size: int


class Piece(Struct, frozen=True):
    """A file as a host is to have it: ``head``, then the bytes of ``spans``, in that order."""

    name: str
    head: bytes
    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        return len(self.head) + sum(span.size for span in self.spans)

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """The file's bytes from ``start`` on. Raises `OSError` where a file here is shorter than it was."""
        if start < len(self.head):
            yield self.head[start:]
        skip = max(0, start - len(self.head))
        for span in self.spans:
            if skip >= span.size:
                skip -= span.size
                continue
            yield from _blocks(span, skip)
            skip = 0


def _blocks(span: Span, skip: int) -> Iterator[bytes]:
    left = span.size - skip
    with Path(span.path).open("rb", buffering=0) as file:
        file.seek(span.offset + skip)
        while left:
            data = file.read(min(left, BLOCK))
            if not data:
                raise OSError(None, "it became shorter while it was read", span.path)
            left -= len(data)
            yield data


class LocalModel:
    """``tensors`` and ``config`` of the model in ``folder``. Raises `PlanError` when it is no whole one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stamp = _stamp(folder)
        try:
            if not folder.is_dir():
                raise PlanError(
                    f"there is no model folder {folder} on this machine, from which it is to be sent",
                    'correct `model` in the profile, or remove weights = "push" if the hosts have it',
                )
            self.config: dict[str, Any] = json_object(folder / "config.json")
            self._places = dict(_places(folder))
        except Unreadable as error:
            raise PlanError(f"on this machine: {error.cause}", error.remedy) from None
        except OSError as error:
            raise PlanError(
                f"the model folder {folder} on this machine cannot be read: {error.strerror or error}",
                "check its permissions",
            ) from None
        self.tensors = [tensor for tensor, _ in self._places.values()]
        self._units = units(self.config, self.tensors)

    def has_changed(self) -> bool:
        """Whether files of the folder are others than when it was read."""
        return _stamp(self.folder) != self._stamp

    def pieces(self, shard: Shard, *, tokenizer: bool) -> tuple[Piece, ...]:
        """All files of the stage of ``shard``; with ``tokenizer`` also those that texts need."""
        names = units_of_stage(self.config, self._units, shard)
        return (*self._plain_files(tokenizer), *(self._piece(name) for name in names))

    def _piece(self, unit: str) -> Piece:
        spans: list[Span] = []
        entries: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
        at = 0
        for tensor in self._units[unit]:
            _, span = self._places[tensor.name]
            entries[tensor.name] = {
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "data_offsets": [at, at + span.size],
            }
            at += span.size
            spans.append(span)
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNED)
        return Piece(f"model-{unit}.safetensors", len(text).to_bytes(8, "little") + text, tuple(spans))

    def _plain_files(self, tokenizer: bool) -> Iterator[Piece]:
        for path in sorted(self.folder.iterdir()):
            if reads(path.name, tokenizer=tokenizer) and path.is_file():
                yield Piece(path.name, b"", (Span(str(path), 0, path.stat().st_size),))


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    try:
        about = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:
        return ()
    return tuple((name, found.st_size, found.st_mtime_ns) for name, found in about)


def _places(folder: Path) -> Iterator[tuple[str, tuple[Tensor, Span]]]:
    wanted, files = weight_files(folder)
    if not files:
        raise Unreadable(f"no model*.safetensors in {folder}", "name the folder of an MLX model")
    found: set[str] = set()
    for path in files:
        if not path.exists():
            raise Unreadable(f"{path} is missing", "fetch the model again")
        for tensor, start in read_places(path):
            if wanted.get(tensor.name, path.name) == path.name:
                found.add(tensor.name)
                yield tensor.name, (tensor, Span(str(path), start, tensor.nbytes))
    for name in sorted(wanted.keys() - found):
        raise Unreadable(
            f"{folder / wanted[name]} lacks {name}, which the index places there", "fetch it again"
        )


class Sums:
    """SHA-256 of pieces, kept in a file from run to run: a model need not be read anew to be compared.

    A sum holds for as long as the files it was made from have their size, time and inode.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = _load(path)
        self._saving = threading.Lock()  # hosts are done when they are

    def of(self, piece: Piece) -> str:
        """Computed when it is not known. Blocks."""
        key = _key(piece)
        if key not in self._known:
            digest = hashlib.sha256()
            for data in piece.blocks():
                digest.update(data)
            self._known[key] = digest.hexdigest()
        return self._known[key]

    def learn(self, piece: Piece, digest: str) -> None:
        self._known[_key(piece)] = digest

    def save(self, pieces: Sequence[Piece]) -> None:
        """Keep what is known of ``pieces`` and of those kept before. What cannot be written is not kept."""
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        with self._saving, suppress(OSError):
            kept = {key: self._known[key] for key in map(_key, pieces) if key in self._known}
            known = list((_load(self._path) | kept).items())
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with new.open("w") as file:
                    json.dump(dict(known[-_MOST_SUMS:]), file)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._path)
            finally:
                new.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _key(piece: Piece) -> str:
    digest = hashlib.sha256(piece.head)
    for span in piece.spans:
        about = Path(span.path).stat()
        words = (span.path, span.offset, span.size, about.st_size, about.st_mtime_ns, about.st_ino)
        digest.update(repr(words).encode())
    return digest.hexdigest()

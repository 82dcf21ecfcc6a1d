"""Reads an archive of blocks. Nothing in it counts before all of it was looked at. Knows no hosts."""

import hashlib
import os
import re
import tarfile
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from console.cluster.prefixes_archive import FOLDER, FORMAT, KIND, MANIFEST, Manifest
from console.cluster.prefixes_program import MOST_BYTES
from ringcore.checkpoint.survey import Unreadable, parse_header
from ringcore.spec.block_file import BlockFile
from ringcore.spec.errors import ProfileError
from ringcore.spec.profile import LEAST_BLOCK_TOKENS, MOST_BLOCK_TOKENS

_MOST_MANIFEST = 128 << 20
_HEX = re.compile(r"[0-9a-f]{32}")
_LAYER = re.compile(r"[0-9]{1,6}")
_SUM = re.compile(r"[0-9a-f]{64}")
_TAIL = 1 << 20
_UNREADABLE = (tarfile.TarError, OSError, ValueError, OverflowError)  # of a header that makes no sense


class _Known(Struct):
    """What every format says of itself."""

    kind: str = ""
    format: int = 0


class _Header(Struct):
    metadata: dict[str, str] = msgspec.field(name="__metadata__", default_factory=dict)


class Archive:
    """One that was found to be whole. `close` it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        """The manifest is read and checked, nothing else. Raises `ProfileError`."""
        self._file = file
        self._path = path
        self._places: dict[str, int] = {}
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - `close`
            self.manifest = self._read_manifest()
        except _UNREADABLE as error:
            raise self._damaged(str(error) or "it is no tar") from None

    @staticmethod
    def open(path: Path) -> "Archive":
        """Raises `ProfileError` for what is no archive of this kind."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise ProfileError(
                f"{path} cannot be read: {error.strerror or error}",
                "name a file that `mlxring cache PROFILE --export` wrote",
            ) from None
        try:
            return Archive(file, path)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def verify(self) -> int:
        """Every file is there, whole, where the manifest has it, and of its root; and there is nothing else.
        The bytes of their tensors, without headers. Raises `ProfileError`."""
        payload = 0
        try:
            for file, expected in self.manifest.files():
                entry = self._next(file)
                self._places[file.file_name] = entry.offset_data
                data = self.read(file)
                if hashlib.sha256(data).hexdigest() != expected:
                    raise self._damaged(f"{file.file_name} has another sum than the manifest says")
                payload += self._payload(file, data)
            if (more := self._tar.next()) is not None:
                raise self._foreign(f"it holds {more.name!r}, which its manifest does not list")
            self._file.seek(self._tar.offset)
            tail = self._file.read(_TAIL)
            if len(tail) < 2 * tarfile.BLOCKSIZE or tail.strip(b"\0"):
                raise self._damaged("its end is missing")
        except _UNREADABLE as error:
            raise self._damaged(str(error)) from None
        return payload

    def read(self, file: BlockFile) -> bytes:
        """Of one that was found by `verify`; by any thread. Raises `ProfileError` when it is not whole."""
        try:
            data = os.pread(self._file.fileno(), file.size, self._places[file.file_name])
        except OSError as error:
            raise self._damaged(str(error)) from None
        if len(data) != file.size:
            raise self._damaged(f"it ends within {file.file_name}")
        return data

    def _read_manifest(self) -> Manifest:
        entry = self._tar.next()
        if entry is None or entry.name != MANIFEST or not entry.isreg() or entry.size > _MOST_MANIFEST:
            raise self._foreign("it does not begin with a manifest")
        text = os.pread(self._file.fileno(), entry.size, entry.offset_data)
        try:
            known = msgspec.json.decode(text, type=_Known)
            if known.kind != KIND:
                raise self._foreign("its manifest is of something else")
            if known.format != FORMAT:
                raise ProfileError(
                    f"{self._path} is of format {known.format}; this console reads {FORMAT}",
                    "use the mlxring that wrote it, or export it again",
                )
            manifest = msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError as error:
            raise self._damaged(f"its manifest is not understood: {error}") from None
        self._check(manifest)
        return manifest

    def _check(self, manifest: Manifest) -> None:
        names = [block.name for block in manifest.blocks]
        sound = all(_HEX.fullmatch(name) for name in (manifest.root, *names)) and len({*names}) == len(names)
        tokens = LEAST_BLOCK_TOKENS <= manifest.block_tokens <= MOST_BLOCK_TOKENS
        if not (sound and names and tokens):
            raise self._foreign("its manifest names what are no blocks")
        total = 0
        for block in manifest.blocks:
            at = 0
            for part in block.parts:
                well = (
                    0 <= part.start <= at < part.end
                    and 0 < part.bytes <= MOST_BYTES
                    and _SUM.fullmatch(part.sha256)
                )
                if not well:
                    raise self._foreign(f"the manifest's block {block.name} is none")
                at = part.end
                total += part.bytes
            if at != manifest.layers:
                raise self._foreign(f"the manifest's block {block.name} has {at} of {manifest.layers} layers")
        if total != manifest.bytes:
            raise self._foreign("the sizes in its manifest do not add up")

    def _next(self, file: BlockFile) -> tarfile.TarInfo:
        entry = self._tar.next()
        if entry is None:
            raise self._damaged(f"it ends before {file.file_name}")
        if entry.name != FOLDER + file.file_name or not entry.isreg() or entry.issparse():
            raise self._foreign(f"it holds {entry.name!r} where {file.file_name} should be")
        if entry.size != file.size:
            raise self._foreign(f"{file.file_name} has another size than its manifest says")
        return entry

    def _payload(self, file: BlockFile, data: bytes) -> int:
        """Bytes of the tensors. Raises `ProfileError` where the file says that it is another block's."""
        length = int.from_bytes(data[:8], "little")
        header = data[8 : 8 + length]
        try:
            said = msgspec.json.decode(header, type=_Header).metadata
            tensors = [tensor for tensor, _ in parse_header(self._path, header, len(data) - 8 - length)]
        except (msgspec.MsgspecError, Unreadable):
            raise self._foreign(f"{file.file_name} is no safetensors file") from None
        layers = [tensor.name.partition(".")[0] for tensor in tensors]
        if not all(_LAYER.fullmatch(layer) and file.start <= int(layer) < file.end for layer in layers):
            raise self._foreign(f"{file.file_name} holds other layers than its name says")
        if said.get("root") != self.manifest.root or said.get("block") != file.name:
            raise self._foreign(f"{file.file_name} says that it is another block")
        return sum(tensor.nbytes for tensor in tensors)

    def _damaged(self, why: str) -> ProfileError:
        return ProfileError(
            f"{self._path} is damaged: {why}; nothing was changed", "export it again, or take another copy"
        )

    def _foreign(self, why: str) -> ProfileError:
        return ProfileError(
            f"{self._path} is no archive of a prefix cache: {why}; nothing was changed",
            "name a file that `mlxring cache PROFILE --export` wrote",
        )

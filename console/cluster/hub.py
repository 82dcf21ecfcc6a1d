"""A model in a repository of the Hugging Face hub: its config and the headers of its weights, read in ranges.

No weights come to this machine. ``HF_ENDPOINT`` names another hub, ``HF_TOKEN`` is shown to it there.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from console.audit import without_secrets
from ringcore.checkpoint.survey import INDEX, Tensor, Unreadable, index_names, parse_header
from ringcore.planning.share import reads, units, units_of_stage
from ringcore.spec.errors import PlanError
from ringcore.spec.plan import Stage

if TYPE_CHECKING:
    import httpx

_HUB = "https://huggingface.co"
_SECONDS = 20.0
_AT_ONCE = 8
_FIRST_BYTES = 1 << 16  # most headers are shorter
_MAX_HEADER = 100_000_000


class HubFile(Struct, frozen=True):
    size: int
    sha256: str = ""  # the hub knows it of large files only


class HubModel(Struct, frozen=True, kw_only=True):
    """One commit. ``places``: the file of each tensor."""

    endpoint: str
    repository: str
    revision: str
    files: dict[str, HubFile]
    config: dict[str, Any]
    tensors: list[Tensor]
    places: dict[str, str]

    @property
    def name(self) -> str:
        return self.repository.partition("/")[2]

    @property
    def shown(self) -> str:
        """The endpoint for people: it may have a password in it."""
        return without_secrets(self.endpoint)

    def share(self, stage: Stage) -> tuple[dict[str, HubFile], dict[str, str]]:
        """The files that hold what ``stage`` loads, and in which of them each of its tensors is."""
        having = units(self.config, self.tensors)
        names = units_of_stage(self.config, having, stage.shard)
        index = {tensor.name: self.places[tensor.name] for name in names for tensor in having[name]}
        wanted = {*index.values(), *(name for name in self.files if reads(name, tokenizer=stage.rank == 0))}
        return {name: self.files[name] for name in sorted(wanted)}, index


async def read_hub(model: str, environment: Mapping[str, str]) -> HubModel:
    """``owner/name`` or ``owner/name@revision``. Raises `PlanError` saying whether the hub cannot be
    reached, does not know the repository or does not show it."""
    repository, _, revision = model.partition("@")
    async with _client(environment) as client:
        hub = _Hub(client, repository)
        return await hub.read(revision or "main")


class _Hub:
    def __init__(self, client: "httpx.AsyncClient", repository: str) -> None:
        self._client = client
        self._repository = repository
        self._few = asyncio.Semaphore(_AT_ONCE)
        self._shown = without_secrets(str(client.base_url))

    async def read(self, revision: str) -> HubModel:
        about = await self._get(f"/api/models/{self._repository}/revision/{revision}?blobs=true")
        try:
            said = json.loads(about)
            commit = str(said["sha"])
            files = {str(each["rfilename"]): _file(each) for each in said["siblings"]}
        except (ValueError, KeyError, TypeError):
            raise self._strange("the list of its files is not understood") from None
        files = {name: file for name, file in files.items() if "/" not in name and not name.startswith(".")}
        try:
            config = await self._json(commit, "config.json", files)
            wanted: dict[str, str] = {}
            if INDEX in files:
                wanted = index_names(Path(INDEX), await self._json(commit, INDEX, files))
            weights = set(wanted.values()) or {name for name in files if _is_weights(name)}
            lists = await asyncio.gather(*(self._header(commit, name, files) for name in sorted(weights)))
        except Unreadable as error:
            raise self._strange(error.cause) from None
        tensors: dict[str, Tensor] = {}
        places: dict[str, str] = {}
        for name, found in zip(sorted(weights), lists, strict=True):
            for tensor in found:
                if wanted.get(tensor.name, name) == name:
                    tensors[tensor.name], places[tensor.name] = tensor, name
        if not tensors or wanted.keys() - tensors.keys():
            raise self._strange("it has no model*.safetensors, or they lack what its index places there")
        return HubModel(
            endpoint=str(self._client.base_url).rstrip("/"),
            repository=self._repository,
            revision=commit,
            files=files,
            config=config,
            tensors=[tensors[name] for name in sorted(tensors)],
            places=places,
        )

    async def _json(self, commit: str, name: str, files: Mapping[str, HubFile]) -> dict[str, Any]:
        if name not in files:
            raise self._strange(f"it has no {name}")
        try:
            value = json.loads(await self._get(self._place(commit, name)))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self._strange(f"its {name} is no JSON object")
        return value

    async def _header(self, commit: str, name: str, files: Mapping[str, HubFile]) -> list[Tensor]:
        if name not in files:
            raise self._strange(f"its index names {name}, which it has not")
        async with self._few:
            place = self._place(commit, name)
            data = await self._get(place, _FIRST_BYTES)
            length = int.from_bytes(data[:8], "little")
            if length > _MAX_HEADER:
                raise self._strange(f"{name} has a header of {length} bytes")
            if len(data) < 8 + length:
                data = await self._get(place, 8 + length)
        text = data[8 : 8 + length]
        return [tensor for tensor, _ in parse_header(Path(name), text, files[name].size - 8 - length)]

    def _place(self, commit: str, name: str) -> str:
        return f"/{self._repository}/resolve/{commit}/{name}"

    async def _get(self, place: str, first_bytes: int = 0) -> bytes:
        import httpx

        headers = {"Range": f"bytes=0-{first_bytes - 1}"} if first_bytes else {}
        try:
            async with self._client.stream("GET", place, headers=headers) as answer:
                if answer.status_code >= 400:
                    raise self._refused(answer.status_code)
                data = b""
                async for part in answer.aiter_bytes():
                    data += part
                    if first_bytes and len(data) >= first_bytes:  # a server that knows no ranges sends all
                        break
                return data
        except httpx.HTTPError as error:
            raise PlanError(
                f"the hub at {self._shown} cannot be reached from this machine: "
                f"{error or type(error).__name__}",
                "check the network, the proxy and HF_ENDPOINT; without the hub, write the path of a folder "
                "with the model: the hosts' own, or this machine's, which is then sent to them",
            ) from None

    def _refused(self, status: int) -> PlanError:
        if status in (401, 403):
            return PlanError(
                f"the hub does not show {self._repository} to this machine (status {status})",
                "accept the model's terms on its page and set HF_TOKEN here and on each host, "
                "or correct `model` in the profile",
            )
        if status == 404:
            return PlanError(
                f"the hub at {self._shown} has no {self._repository}, or not that revision",
                "correct `model` in the profile: owner/name or owner/name@revision",
            )
        return PlanError(f"the hub at {self._shown} answers with status {status}", "try again later")

    def _strange(self, cause: str) -> PlanError:
        return PlanError(
            f"{self._repository} on the hub is no model that can be used: {cause}",
            "take an MLX conversion of it, such as those of mlx-community",
        )


def _file(sibling: Mapping[str, Any]) -> HubFile:
    lfs = sibling.get("lfs") or {}
    return HubFile(int(lfs.get("size") or sibling.get("size") or 0), str(lfs.get("sha256") or ""))


def _is_weights(name: str) -> bool:
    return name.startswith("model") and name.endswith(".safetensors")


@asynccontextmanager
async def _client(environment: Mapping[str, str]) -> "AsyncGenerator[httpx.AsyncClient, None]":
    import httpx

    token = environment.get("HF_TOKEN", "").strip()  # a file's last line end comes along easily
    if not (token.isascii() and token.isprintable()):
        raise PlanError("HF_TOKEN holds what no token has", "set it to the token alone, as the hub shows it")
    async with httpx.AsyncClient(
        base_url=environment.get("HF_ENDPOINT", "").rstrip("/") or _HUB,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=_SECONDS,
        follow_redirects=True,
    ) as client:
        yield client

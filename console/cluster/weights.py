"""How each host comes by the weights of its layers: they lie there, are sent from here, or are fetched there.

Decides the way for each host, reads the model's card wherever the model is, and puts in place what a plan
gives a host. Sending is `weights_push`'s, the hub `weights_hub`'s.
"""

import asyncio
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from console.cluster.facts import expanded
from console.cluster.host import Host
from console.cluster.hub import HubModel, read_hub
from console.cluster.model import NoFolder, model_name, read_card
from console.cluster.provision import Prepared
from console.cluster.steps import emit_for
from console.cluster.weights_hub import Fetch
from console.cluster.weights_local import LocalModel, Sums
from console.cluster.weights_progress import Progress, telling
from console.cluster.weights_push import Push
from console.ports import Emit
from ringcore.planning.card import make_card
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import ProvisionError
from ringcore.spec.events import HostStep
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan, Stage
from ringcore.spec.profile import Profile
from ringcore.spec.units import format_bytes

MODELS = "models"  # under a host's home


class Weights:
    """For the hosts of one profile. ``cache``: a folder of this user's, where sums are kept; ``environment``
    may name another hub and a token for it."""

    def __init__(
        self, profile: Profile, emit: Emit, cache: Path, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._profile = profile
        self._emit = emit
        self._environment = environment
        self._sums = Sums(cache / "mlxring" / "sums.json")
        self._sent: set[str] = set()  # hosts that get theirs from here
        self._paths: dict[str, str] = {}
        self._local: LocalModel | None = None
        self._hub: HubModel | None = None
        self._lock = asyncio.Lock()

    async def card(self, host: Host, facts: HostFacts, made: str, dtype: str) -> ModelCard:
        """The card of the model that ``host`` has or will get. ``made``: a folder made for this ring, or "".

        Raises `PlanError` when there is none to be had, `HostError`.
        """
        name, own = host.options.name, host.options.model or made
        allowed = self._profile.ring.allow_unverified
        self._sent.discard(name)
        self._paths.pop(name, None)
        if not own and self._profile.from_hub:
            hub = await self._hub_model()
            return make_card(hub.name, hub.config, hub.tensors, dtype, allow_unverified=allowed)
        if not own and self._profile.weights == "push":
            return await self._card_here(name, dtype)
        path = expanded(own or self._profile.model, facts.home)
        try:
            card = await read_card(host, facts, path, dtype, allow_unverified=allowed)
        except NoFolder:
            if own or self._profile.weights != "auto" or not self._here.is_dir():
                raise
            return await self._card_here(name, dtype)
        self._paths[name] = path
        return card

    async def place(self, host: Host, prepared: Prepared, plan: Plan) -> str:
        """Puts the weights of this host's stage where its rank will read them; that folder.

        Raises `ProvisionError` when there is no room or what arrives is wrong, `HostError`.
        """
        name = host.options.name
        if name in self._paths:
            return self._paths[name]
        stage = next(stage for stage in plan.stages if stage.host == name)
        if name in self._sent:
            folder = f"{prepared.home}/{MODELS}/{_folder_name(plan.model, plan.revision)}"
            await self._push(host, prepared, stage, folder)
        else:
            hub = await self._hub_model()
            folder = f"{prepared.home}/{MODELS}/{_folder_name(plan.model, hub.revision[:16])}"
            await Fetch(host, prepared.python, folder, self._emit).run(hub, stage)
        return folder

    def intended(self, stage: Stage) -> str:
        """What the host of ``stage`` would be sent or fetch if it had nothing yet; "" when it has its own.
        After `card`."""
        if stage.host in self._paths:
            return ""
        if stage.host in self._sent and self._local is not None:
            pieces = self._local.pieces(stage.shard, tokenizer=stage.rank == 0)
            return f"gets its weights from this machine: {format_bytes(sum(piece.size for piece in pieces))}"
        if self._hub is None:
            return ""
        files, _ = self._hub.share(stage)
        size = format_bytes(sum(file.size for file in files.values()))
        return f"fetches its weights from {self._hub.shown}: {len(files)} files, {size}"

    @property
    def _here(self) -> Path:
        return Path(self._profile.model).expanduser()

    async def _card_here(self, name: str, dtype: str) -> ModelCard:
        model = await self._model_here()
        self._sent.add(name)
        allowed = self._profile.ring.allow_unverified
        found = model_name(str(model.folder))
        return make_card(found, model.config, model.tensors, dtype, allow_unverified=allowed)

    async def _model_here(self) -> LocalModel:
        async with self._lock:
            if self._local is None or await asyncio.to_thread(self._local.has_changed):
                self._local = await asyncio.to_thread(LocalModel, self._here)
            return self._local

    async def _hub_model(self) -> HubModel:
        async with self._lock:
            if self._hub is None:
                self._hub = await read_hub(self._profile.model, self._environment)
            return self._hub

    async def _push(self, host: Host, prepared: Prepared, stage: Stage, folder: str) -> None:
        model = self._local
        assert model is not None, "the card comes first"
        try:
            await self._pushed(model, host, prepared, stage, folder)
        except OSError as error:  # of a file here: a host's troubles are typed
            raise ProvisionError(
                f"{error.filename or model.folder} on this machine cannot be read: {error.strerror or error}",
                "see that the model's folder is whole and on a sound disk",
                host=host.options.name,
            ) from None

    async def _pushed(
        self, model: LocalModel, host: Host, prepared: Prepared, stage: Stage, folder: str
    ) -> None:
        pieces = model.pieces(stage.shard, tokenizer=stage.rank == 0 or stage.shard.is_last)
        push = Push(host, prepared.python, folder, self._sums)
        transfers, remove = await push.look(pieces)
        progress = Progress(sum(transfer.size for transfer in transfers))
        began = time.monotonic()
        try:
            if transfers:
                async with telling(self._emit, host.options.name, progress, f"sending weights to {folder}"):
                    await push.send(transfers, remove, progress.moved)
        finally:
            await asyncio.to_thread(self._sums.save, pieces)
        self._say(host, _told(progress.done, sum(piece.size for piece in pieces), time.monotonic() - began))

    def _say(self, host: Host, detail: str) -> None:
        event = HostStep(step="weights", status="active", progress=1.0, detail=detail)
        emit_for(self._emit, host.options.name, event)


def _told(sent: int, share: int, seconds: float) -> str:
    if not sent:
        return f"nothing to send: all {format_bytes(share)} are there"
    return (
        f"sent {format_bytes(sent)} of the {format_bytes(share)} that its layers take, "
        f"{format_bytes(sent / max(seconds, 0.001))}/s"
    )


def _folder_name(model: str, revision: str) -> str:
    """The model's name and what tells it from others of that name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.") or "model"
    return f"{name[:60]}-{revision}"

"""Fetches the files of a stage from the hub, on the host itself; what the hub holds is `hub`'s.

The host's end is `ringcore.checkpoint.fetch`. Hosts use a token of their own, this machine's is not sent.
"""

import json
from importlib import resources

import msgspec
from msgspec import Struct

from console.cluster.host import Host
from console.cluster.hub import HubModel
from console.cluster.steps import emit_for
from console.cluster.weights_progress import Progress, telling
from console.ports import Emit
from ringcore.spec.errors import ProvisionError
from ringcore.spec.events import HostStep
from ringcore.spec.plan import Stage
from ringcore.spec.units import format_bytes

_FETCH_SECONDS = 24 * 3600.0


class _Answer(Struct, frozen=True):
    total: int = 0
    done: int = 0
    ok: bool | None = None
    fetched: int = 0
    cause: str = ""
    full: bool = False


class Fetch:
    """On one host, by the interpreter at ``python`` there, into ``folder`` there."""

    def __init__(self, host: Host, python: str, folder: str, emit: Emit) -> None:
        self._host = host
        self._python = python
        self._folder = folder
        self._emit = emit

    async def run(self, hub: HubModel, stage: Stage) -> None:
        """Raises `ProvisionError` with what keeps the files from arriving, `HostError`."""
        files, index = hub.share(stage)
        order = {
            "endpoint": hub.endpoint,
            "repository": hub.repository,
            "revision": hub.revision,
            "folder": self._folder,
            "files": {name: [file.size, file.sha256] for name, file in files.items()},
            "index": {"metadata": {}, "weight_map": index},
        }
        script = resources.files("ringcore.checkpoint").joinpath("fetch.py").read_text()
        progress = Progress(sum(file.size for file in files.values()))
        argv = [self._python, "-I", "-B", "-c", script]
        answer = _Answer()
        async with (
            telling(self._emit, self._host.options.name, progress, f"fetching {hub.repository} from the hub"),
            self._host.stream(argv, timeout=_FETCH_SECONDS) as remote,
        ):
            await remote.send(json.dumps(order).encode() + b"\n")
            async for line in remote.lines():
                answer = _read(line)
                if answer.ok is not None:
                    break
                progress.total, progress.done = answer.total or progress.total, answer.done
        if answer.ok:
            self._told(hub, answer.fetched)
            return
        cause = answer.cause or "it ended without an answer"
        if answer.full:
            raise self._error(
                f"the disk of {self._folder} is too small: {cause}",
                "free space there, or set hosts.home in the profile to a folder on another disk",
            )
        raise self._error(
            f"fetching {hub.repository} from {hub.shown}: {cause}",
            "see that this host reaches the hub (and has a token where one is needed), then run the command "
            'again: it goes on from there; or write the path of a folder here and weights = "push"',
        )

    def _told(self, hub: HubModel, fetched: int) -> None:
        detail = f"fetched {format_bytes(fetched)} from {hub.shown}" if fetched else "nothing to fetch"
        event = HostStep(step="weights", status="active", progress=1.0, detail=detail)
        emit_for(self._emit, self._host.options.name, event)

    def _error(self, cause: str, remedy: str) -> ProvisionError:
        return ProvisionError(f"weights: {cause}", remedy, host=self._host.options.name)


def _read(line: bytes) -> _Answer:
    try:
        return msgspec.json.decode(line, type=_Answer)
    except msgspec.MsgspecError:
        return _Answer()

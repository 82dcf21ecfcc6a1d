"""The outermost of the API: what every request gets whatever becomes of it: an id, a plain path, a count and
a line in the log.

The line has no query, no header and no body, so neither key nor prompt. Knows nothing of what is asked.
"""

import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ringcore.gateway.metrics import Metrics
from ringcore.spec.events import Level

LINES_A_SECOND = 20  # so many requests are told, the others counted: the journal is bounded
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ADDRESS = re.compile(r"[A-Za-z0-9.:%_-]{1,64}")
_SLASHES = re.compile("/{2,}")
_LOOKING = ("GET", "HEAD", "OPTIONS")
_POLLED = ("/health", "/health/ready")  # 503 is an answer there


class Trail:
    """``paths`` are those that there are: figures know no others."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, paths: frozenset[str], say: Callable[[Level, str], None]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths
        self._log = Log(say)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # `base_url` with a slash too many, or a path that ends in one, is no reason for a redirect.
        path = scope["path"] = _SLASHES.sub("/", scope["path"]).rstrip("/") or "/"
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if _ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        began, status, whole = time.monotonic(), 0, False

        async def watching(message: Message) -> None:
            nonlocal status, whole
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.answered(path if path in self._paths else "other", status)
                headers = [*message.get("headers", ()), (b"x-request-id", name.encode())]
                message = {**message, "headers": headers}
            elif not message.get("more_body"):
                whole = True
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            if scope["method"] not in _LOOKING or (status >= 400 and path not in _POLLED):
                shown = path if path in self._paths else repr(path[:100])
                who = str(scope["client"][0]) if scope.get("client") else ""
                who = who if _ADDRESS.fullmatch(who) else "?"  # a proxy passes on what it is told
                how = str(status) if whole else f"{status}, left unfinished"
                took = time.monotonic() - began
                self._log.add(f"{scope['method']} {shown} {how} after {took:.2f} s, {name} of {who}")


class Log:
    """Lines by way of ``say``, no more than `LINES_A_SECOND`."""

    def __init__(self, say: Callable[[Level, str], None]) -> None:
        self._say = say
        self._second = 0
        self._told = self._missed = 0

    def add(self, text: str) -> None:
        if (second := int(time.monotonic())) != self._second:
            missed = f" ({self._missed} more requests are not told)" if self._missed else ""
            self._second, self._told, self._missed = second, 0, 0
            text += missed
        if self._told >= LINES_A_SECOND:
            self._missed += 1
            return
        self._told += 1
        self._say("INFO", text)

"""Who may ask: the key, and on a loopback address without one, only programs and pages of this machine.

A page from anywhere can make a browser send requests to loopback, so without a key the names that such a
request carries are looked at: ``Host`` (a name that was bent to 127.0.0.1) and ``Origin`` (another page).
Knows nothing of what is asked.
"""

import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ringcore.gateway.errors import ApiFault

# What tells a supervisor or a browser nothing but that somebody is here.
OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/openapi.json", "/docs"})


class Access:
    """``key`` "" asks for none; then only loopback names and the pages in ``origins`` are served."""

    def __init__(self, app: ASGIApp, key: str, origins: Sequence[str]) -> None:
        self._app = app
        self._key = key.encode()
        self._origins = frozenset(origin.lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            fault = self._without_key(headers) if not self._key else self._with_key(scope["path"], headers)
            if fault is not None:
                await fault.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _with_key(self, path: str, headers: Headers) -> ApiFault | None:
        if path in OPEN_PATHS:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key):
            return None
        what = "is not the API key of this ring" if given else "is missing"
        return ApiFault(
            401,
            f"the API key {what}: send `Authorization: Bearer KEY`; `mlxring key PROFILE` shows it",
            kind="authentication_error",
            code="invalid_api_key",
        )

    def _without_key(self, headers: Headers) -> ApiFault | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if host and not _is_here(host):
            return _forbidden(
                f"the API listens on loopback, it is not {host!r:.100}; with `key = 'always'` under [api] in "
                "the profile it answers to any name, for those who send the key"
            )
        if origin is None or origin.lower() in self._origins or _same_place(origin, host):
            return None
        return _forbidden(
            f"pages of {origin!r:.100} may not call this API; `origins` under [api] in the profile names some"
        )


def _forbidden(message: str) -> ApiFault:
    return ApiFault(403, message, kind="permission_error", code="forbidden")


def _is_here(host: str) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _same_place(origin: str, host: str) -> bool:
    """The page came from here: the API's own."""
    return bool(host) and origin.lower().partition("://")[2] == host.lower()

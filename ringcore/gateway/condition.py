"""GET endpoints that tell how things stand: health, figures, the model, and the API's own description."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ringcore.gateway.engine import Engine
from ringcore.gateway.errors import ApiFault
from ringcore.gateway.metrics import CONTENT_TYPE, Metrics
from ringcore.gateway.openapi import document, page
from ringcore.gateway.pulse import Pulse


def check_model(asked: str, model: str) -> None:
    """The name, or its last part, in any case; none at all means this one. Raises `ApiFault` 404."""
    known = {model.casefold(), model.rstrip("/").rpartition("/")[2].casefold(), ""}
    if asked.casefold() not in known:
        raise ApiFault(
            404, f"this ring serves {model!r}, not {asked!r:.200}", param="model", code="model_not_found"
        )


def condition_routes(
    model: str, engine: Engine, metrics: Metrics, pulse: Pulse, *, keyed: bool
) -> list[Route]:
    """``keyed``: a key is asked for, and then nothing is told without it but whether the ring is well."""
    entry: dict[str, Any] = {
        "id": model, "object": "model", "created": int(time.time()), "owned_by": "mlxring",
    }  # fmt: skip
    described = document(model, keyed=keyed)
    described_page = page(described)
    metrics.ready = lambda: engine.ready is not None and not pulse.trouble

    async def health(_request: Request) -> Response:
        ready = engine.ready
        reason = engine.reason if ready is None else pulse.trouble
        body = {"live": True, "ready": not reason, "model": model}
        if ready is None or reason:
            return JSONResponse({**body, "status": "unavailable", "reason": reason}, status_code=503)
        return JSONResponse({**body, "status": "ok", "epoch": ready.epoch, "context": ready.context})

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def figures(_request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    def described_model() -> dict[str, Any]:
        ready = engine.ready
        return entry if ready is None else {**entry, "max_model_len": ready.context}

    async def models(_request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [described_model()]})

    async def one_model(request: Request) -> Response:
        check_model(request.path_params["name"], model)
        return JSONResponse(described_model())

    async def described_as_json(_request: Request) -> Response:
        return JSONResponse(described)

    async def docs(_request: Request) -> Response:
        return HTMLResponse(described_page, headers={"content-security-policy": _ONLY_STYLE})

    return [
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", one_model),
        Route("/health", health),
        Route("/health/ready", health),
        Route("/health/live", live),
        Route("/metrics", figures),
        Route("/openapi.json", described_as_json),
        Route("/docs", docs),
    ]


_ONLY_STYLE = "default-src 'none'; style-src 'unsafe-inline'"

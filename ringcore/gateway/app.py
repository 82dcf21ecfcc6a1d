"""The HTTP routes: bodies in, answers, streams or errors out. Knows nothing of sockets or processes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ringcore.gateway import chat, completions
from ringcore.gateway.access import Access
from ringcore.gateway.bodies import parse
from ringcore.gateway.choices import Choices
from ringcore.gateway.condition import check_model, condition_routes
from ringcore.gateway.control import Control
from ringcore.gateway.conversations import Conversations
from ringcore.gateway.engine import Engine
from ringcore.gateway.errors import ApiFault, answer_fault
from ringcore.gateway.generate import Generator
from ringcore.gateway.metrics import Metrics
from ringcore.gateway.parameters import MAX_BODY_BYTES, ChatParameters, Common, CompletionParameters
from ringcore.gateway.pulse import Pulse
from ringcore.gateway.sse import EventStream, until_disconnect
from ringcore.gateway.trail import Trail

_P = TypeVar("_P", bound=Common)
_C = TypeVar("_C", bound=Choices)
_Start = Callable[[Generator, _P], Awaitable[_C]]
_Whole = Callable[[_C, str], Coroutine[Any, Any, dict[str, Any]]]
_Stream = Callable[[_C, str, Common], AsyncGenerator[Mapping[str, Any]]]
_CLIENT_LEFT = 499  # nginx's number; nobody is there to read it
BODY_SECONDS = 60.0


def make_app(
    model: str,
    engine: Engine,
    generator: Generator,
    control: Control,
    metrics: Metrics,
    pulse: Pulse,
    conversations: Conversations,
    *,
    key: str = "",
    origins: Sequence[str] = (),
) -> ASGIApp:
    """``model`` is the name that answers carry. ``key`` and ``origins``: see `Access`."""
    chats = chat.ChatEndpoint(conversations)

    def generation(kind: type[_P], start: _Start[_P, _C], whole: _Whole[_C], stream: _Stream[_C]) -> Any:
        async def endpoint(request: Request) -> Response:
            parameters = parse(await _body(request), kind)
            check_model(parameters.model, model)
            answer = await start(generator, parameters)
            if parameters.stream:
                return EventStream(answer, stream(answer, model, parameters))
            async with answer:
                body = await until_disconnect(request.receive, whole(answer, model))
            return Response(status_code=_CLIENT_LEFT) if body is None else JSONResponse(body)

        return endpoint

    async def embeddings(_request: Request) -> Response:
        message = "embeddings are not offered: this ring serves a model that writes text"
        raise ApiFault(501, message, code="not_offered")

    async def broken(_request: Request, error: Exception) -> Response:
        control.say("ERROR", f"a request failed in the gateway: {type(error).__name__}: {error}")
        fault = ApiFault(500, "the gateway failed on this request; its log says why", kind="server_error")
        response = fault.response()
        response.headers["connection"] = "close"  # uvicorn closes it now: nobody may ask again on it
        return response

    routes = [
        Route("/v1/chat/completions",
              generation(ChatParameters, chats.start, chat.whole, chat.stream), methods=["POST"]),
        Route("/v1/completions",
              generation(CompletionParameters, completions.start, completions.whole, completions.stream),
              methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        *_conversation_routes(conversations),
        *condition_routes(model, engine, metrics, pulse, keyed=bool(key)),
    ]  # fmt: skip
    paths = frozenset(route.path for route in routes)
    app = Starlette(
        routes=routes,
        middleware=[*_cors(origins), Middleware(Access, key=key, origins=origins)],
        exception_handlers={
            ApiFault: answer_fault, HTTPException: partial(_answer_http, paths), Exception: broken,
        },
    )  # fmt: skip
    app.router.redirect_slashes = False
    return Trail(app, metrics, paths, control.say)


def _conversation_routes(conversations: Conversations) -> list[Route]:
    async def held(_request: Request) -> Response:
        data = [
            {"id": name, "object": "conversation", "messages": len(one.messages), "tokens": one.tokens,
             "last_used": int(one.used)}
            for name, one in conversations.all().items()
        ]  # fmt: skip
        return JSONResponse({"object": "list", "data": data})

    async def forget(request: Request) -> Response:
        name: str = request.path_params["name"]
        if not conversations.forget(name):
            raise ApiFault(404, f"there is no conversation {name!r:.140}", code="conversation_not_found")
        return JSONResponse({"id": name, "object": "conversation.deleted", "deleted": True})

    return [
        Route("/v1/conversations", held),
        Route("/v1/conversations/{name}", forget, methods=["DELETE"]),
    ]


def _cors(origins: Sequence[str]) -> list[Middleware]:
    """Off unless pages are named."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
    ]


async def _body(request: Request) -> bytes:
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        message = f"a body with Content-Encoding {coding!r:.40} is not understood: send it as it is"
        raise ApiFault(415, message, code="unsupported_encoding")
    parts: list[bytes] = []
    # A client that waits to be asked for its body (Expect: 100-continue) need not send one that is too large.
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0
    if size > MAX_BODY_BYTES:
        raise _too_large()
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise _too_large()
                parts.append(part)
    except ClientDisconnect as gone:
        raise ApiFault(_CLIENT_LEFT, "the client left") from gone
    except TimeoutError as late:
        message = f"the body did not come within {BODY_SECONDS:.0f} s"
        raise ApiFault(408, message, code="body_too_slow") from late
    return b"".join(parts)


def _too_large() -> ApiFault:
    return ApiFault(413, f"the body is larger than {MAX_BODY_BYTES} bytes", code="body_too_large")


async def _answer_http(paths: frozenset[str], request: Request, error: Exception) -> Response:
    """``paths`` are those that there are."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    message = f"{error.detail}: {request.method} {path}"
    if error.status_code == 404:
        meant = next((p for p in (f"/v1{path}", path.removeprefix("/v1")) if p in paths and p != path), "")
        message += f"; is {meant} meant?" if meant else "; /docs says what there is"
    response = ApiFault(error.status_code, message).response()
    response.headers.update(error.headers or {})  # 405 says which methods are allowed
    return response

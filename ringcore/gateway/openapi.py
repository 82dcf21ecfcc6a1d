"""The API's own description: an OpenAPI 3.1 document made from the types that check requests, and its page.

The page is plain HTML without scripts and takes nothing from anywhere. Knows nothing of what runs.
"""

from html import escape
from typing import Any

import msgspec

from ringcore import __version__
from ringcore.gateway import answers
from ringcore.gateway.parameters import ChatParameters, CompletionParameters

_STREAM = "with `stream: true`, server-sent events: one chunk each, then `[DONE]`; an error is the last event"
_ERRORS = {
    "400": "a field is wrong, or not supported; the message names it",
    "401": "the API key is missing or wrong",
    "403": "the API listens on loopback, and the request comes from elsewhere",
    "404": "there is no such thing",
    "405": "not with this method",
    "408": "the body did not come in time",
    "409": "an answer in this conversation is on its way",
    "413": "the body is too large",
    "415": "the body is compressed",
    "429": "the queue is full; come again after `Retry-After` seconds",
    "500": "the gateway failed",
    "501": "not offered",
    "503": "the ring cannot serve now",
}
_ALWAYS = ("400", "401", "403", "404", "405", "500")
_WORK = (*_ALWAYS, "408", "409", "413", "415", "429", "503")
_CHAT = {"messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 64}
_POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "ChatParameters": {
        "asked": {"value": _CHAT},
        "streamed": {"value": {**_CHAT, "stream": True, "stream_options": {"include_usage": True}}},
        "sampled": {"value": {**_CHAT, "n": 2, "seed": 7, "temperature": 0.7, "logprobs": True}},
        "as JSON": {
            "value": {
                **_CHAT,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "point", "schema": _POINT},
                },
            }
        },
        "in a conversation": {"value": {**_CHAT, "conversation_id": "sky"}},
    },
    "CompletionParameters": {
        "one": {"value": {"prompt": "The sky is", "max_tokens": 16, "stop": ["."]}},
        "several": {"value": {"prompt": ["The sky is", "The sea is"], "max_tokens": 16, "logprobs": 2}},
    },
}
# path, method, summary, type of the body, type of the answer, more statuses
_OPERATIONS: tuple[tuple[str, str, str, Any, Any, tuple[str, ...]], ...] = (
    ("/v1/chat/completions", "post", "Answer a chat", ChatParameters, answers.ChatCompletion, _WORK),
    ("/v1/completions", "post", "Go on with a text", CompletionParameters, answers.TextCompletion, _WORK),
    ("/v1/embeddings", "post", "Not offered", None, None, (*_ALWAYS, "501")),
    ("/v1/models", "get", "The model that is served", None, answers.ModelList, _ALWAYS),
    ("/v1/models/{name}", "get", "The model of that name", None, answers.Model, _ALWAYS),
    ("/v1/conversations", "get", "The conversations that are held", None, answers.ConversationList, _ALWAYS),
    ("/v1/conversations/{name}", "delete", "Forget a conversation", None, answers.Forgotten, _ALWAYS),
    ("/health", "get", "Whether the ring can serve, and does", None, answers.Health, (*_ALWAYS, "503")),
    ("/health/live", "get", "Whether the gateway answers", None, answers.Live, _ALWAYS),
    ("/metrics", "get", "Figures in Prometheus' format", None, str, _ALWAYS),
)


def document(model: str, *, keyed: bool) -> dict[str, Any]:
    """``model`` is the one that is served. ``keyed``: a key is asked for."""
    kinds = {kind for *_, body, answer, _ in _OPERATIONS for kind in (body, answer)} - {None, str}
    ordered = sorted((*kinds, answers.Error, answers.Health), key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    for kind in (ChatParameters, CompletionParameters):
        schemas[kind.__name__]["properties"]["model"]["enum"] = [model, ""]
    paths: dict[str, dict[str, Any]] = {}
    for path, method, summary, body, answer, statuses in _OPERATIONS:
        paths.setdefault(path, {})[method] = _operation(path, summary, body, answer, statuses)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "mlxring",
            "version": __version__,
            "summary": "A model on a ring of machines",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if keyed:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def _operation(path: str, summary: str, body: Any, answer: Any, statuses: tuple[str, ...]) -> dict[str, Any]:
    failed = {"application/json": {"schema": _ref(answers.Error)}}
    responses = {status: {"description": _ERRORS[status], "content": failed} for status in statuses}
    if path == "/health":
        unwell = {"application/json": {"schema": _ref(answers.Health)}}
        responses["503"] = {"description": "it cannot, or it stands still", "content": unwell}
    if answer is str:
        content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
        responses["200"] = {"description": summary, "content": content}
    elif answer is not None:
        content = {"application/json": {"schema": _ref(answer)}}
        if body is not None:
            content["text/event-stream"] = {"schema": {"description": _STREAM}}
        responses["200"] = {"description": summary, "content": content}
    found: dict[str, Any] = {"summary": summary, "responses": dict(sorted(responses.items()))}
    if body is not None:
        taken = {"schema": _ref(body), "examples": _EXAMPLES[body.__name__]}
        found["requestBody"] = {"required": True, "content": {"application/json": taken}}
    if "{name}" in path:
        parameter = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        found["parameters"] = [parameter]
    return found


def _ref(kind: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def page(found: dict[str, Any]) -> str:
    """``found`` for people."""
    schemas: dict[str, Any] = found["components"]["schemas"]
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><title>mlxring API</title><style>", _STYLE]
    parts.append(f"</style><h1>mlxring {escape(found['info']['version'])}</h1>")
    parts.append("<p>The same for programs: <a href=openapi.json>openapi.json</a></p>")
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            parts.append(
                f"<h2><b>{method.upper()}</b> {escape(path)}</h2><p>{escape(operation['summary'])}</p>"
            )
            body: Any = operation.get("requestBody")
            if body is not None:
                name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                parts.append(_fields(schemas[name]))
            rows = (f"<tr><td>{s}<td>{escape(r['description'])}" for s, r in operation["responses"].items())
            parts.append(f"<details><summary>Answers</summary><table>{''.join(rows)}</table></details>")
    parts.append("<h1>Types</h1>")
    parts += [f"<h2>{escape(name)}</h2>{_fields(schema)}" for name, schema in schemas.items()]
    return "".join(parts)


def _fields(schema: dict[str, Any]) -> str:
    needed: list[str] = schema.get("required", [])
    rows = [
        f"<tr><td>{escape(name)}{' *' if name in needed else ''}<td><code>{escape(_words(field))}</code>"
        for name, field in schema.get("properties", {}).items()
    ]
    about = escape(schema.get("description", "")).replace("``", "")
    return f"<p>{about}</p><table>{''.join(rows)}</table>"


def _words(field: dict[str, Any]) -> str:
    return msgspec.json.encode(field).decode().replace("#/components/schemas/", "")


_STYLE = (
    "body{font:16px/1.5 system-ui;max-width:60em;margin:2em auto;padding:0 1em;color-scheme:light dark}"
    "h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse}"
    "td{border:1px solid #8888;padding:.2em .6em;vertical-align:top;overflow-wrap:anywhere}"
)

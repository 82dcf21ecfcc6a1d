"""What a client is told when it cannot be served, in the shape of OpenAI's API. Knows no request."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse


class ApiFault(Exception):
    """An answer that is an error: HTTP ``status`` and the fields of OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }

    def response(self) -> JSONResponse:
        headers = {"Retry-After": "1"} if self.status in (429, 503) else {}
        if self.status == 401:
            headers = {"WWW-Authenticate": "Bearer"}
        return JSONResponse(self.body, status_code=self.status, headers=headers)


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> ApiFault:
    return ApiFault(400, message, param=param, code=code)


def unavailable(reason: str) -> ApiFault:
    return ApiFault(503, reason, kind="server_error", code="unavailable")


async def answer_fault(_request: Request, fault: Exception) -> JSONResponse:
    """Starlette's handler for `ApiFault`."""
    assert isinstance(fault, ApiFault)
    return fault.response()

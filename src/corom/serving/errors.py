"""Every error the server answers with, in OpenAI's envelope.

    {"error": {"message": …, "type": …, "param": …, "code": …}}

A message names fields, positions and limits, never anything the user sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

from corom.errors import InputError, ServiceError


class ErrorFacts(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(BaseModel):
    """The answer to a request that failed."""

    error: ErrorFacts


_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_HTTP = {404: "not_found", 405: "method_not_allowed"}


class ApiError(ServiceError):
    """A request that gets an error as its answer: status, code for programs, words for people."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        """Return the answer."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {
            "message": str(self),
            "type": _TYPES.get(self.status, kind),
            "param": self.param,
            "code": self.code,
        }
        headers = {"retry-after": str(self.retry_after_s)} if self.retry_after_s else {}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return JSONResponse({"error": error}, self.status, headers)


def overloaded(what: str, *, retry_after_s: int = 1) -> ApiError:
    """Return the error for a request there is no room for now."""
    return ApiError(429, f"{what}; try again later", code="overloaded", retry_after_s=retry_after_s)


def draining() -> ApiError:
    """Return the error for a request that came while the server was shutting down."""
    return ApiError(503, "the server is shutting down; try again", code="draining", retry_after_s=5)


def other_model(name: str) -> ApiError:
    """Return the error for a request that names another model: the answer would be wrong."""
    message = f"the model served here is {name}"
    return ApiError(404, message, code="model_not_found", param="model")


def too_late(timeout_s: float) -> ApiError:
    """Return the error for a request that was not answered in time."""
    return ApiError(504, f"no answer within {timeout_s:g} s; send less, or later", code="timeout")


def internal() -> ApiError:
    """Return the error for a fault of ours; the log has the place in the code."""
    return ApiError(500, "the server failed at this request", code="internal_error")


def as_api_error(error: Exception) -> ApiError:
    """Return what an exception means to the client."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    if isinstance(error, HTTPException):
        code = _HTTP.get(error.status_code, "invalid_request")
        return ApiError(error.status_code, code.replace("_", " "), code=code)
    if isinstance(error, InputError):
        return ApiError(400, str(error), code="invalid_value")
    return internal()


async def answer_error(_request: Request, error: Exception) -> JSONResponse:
    """Answer with the envelope: FastAPI's handler for every class of errors."""
    answer = as_api_error(error).response()
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


def _invalid(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """Return the error for the first thing that is wrong; FastAPI's own would repeat the input."""
    first = errors[0]
    kind, message, place = first["type"], first["msg"], first["loc"][1:]
    if kind == "token_ids":
        return ApiError(400, message, code="token_ids", param="input")
    if kind == "json_invalid":
        return ApiError(400, "the body is not valid JSON", code="invalid_json")
    if kind == "extra_forbidden":
        # The name of an unknown field is the user's own text.
        place, message = place[:-1], "there is a field that is not known; see /openapi.json"
    if place[:1] == ("where",):  # further in are the names of columns as they were sent
        place = place[:1]
        message = "not columns with a list of texts, or with gte, gt, lte and lt, texts, each"
    param = ".".join(str(part) for part in place) or None
    where = f"{param}: " if param else "the body: "
    return ApiError(422, where + message, code="invalid_value", param=param)

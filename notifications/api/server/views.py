"""The server API over HTTP: who calls, how large the body is, and what status the answer has.

Requests, answers and errors are those of Centrifugo's HTTP API, so its clients work unmodified.
Source: https://centrifugal.dev/docs/server/server_api.
"""

from collections.abc import Callable
from http import HTTPStatus

import msgspec
from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from ...metrics import DATABASE_ERRORS
from ...models import APIKey
from ...protocol import codes
from ...protocol.codes import ClientError
from ..keys import find_key, note_use
from .methods import Budget, call, read
from .requests import Answer, ErrorBody
from .several import TooMany, batch, old_route

#: Largest body of a request, in bytes.
MAX_BODY = 2_621_440

#: The status of each error for callers that send ``X-Centrifugo-Error-Mode: transport``.
STATUSES = {
    codes.PERMISSION_DENIED.code: HTTPStatus.FORBIDDEN,
    codes.UNKNOWN_CHANNEL.code: HTTPStatus.NOT_FOUND,
    codes.METHOD_NOT_FOUND.code: HTTPStatus.NOT_FOUND,
    codes.LIMIT_EXCEEDED.code: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    codes.BAD_REQUEST.code: HTTPStatus.BAD_REQUEST,
    codes.NOT_AVAILABLE.code: HTTPStatus.BAD_REQUEST,
    codes.UNRECOVERABLE_POSITION.code: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
}

Body = Callable[[HttpRequest], HttpResponse]


def _in_no_transaction(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Mark a view that makes its own transactions, whatever ``ATOMIC_REQUESTS`` says."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@csrf_exempt
@_in_no_transaction
def serve(request: HttpRequest, method: str = "") -> HttpResponse:
    """Answer one request. No cookie counts here, so it needs no CSRF token.

    Args:
        request: the HTTP request.
        method: the method that the path names; "" for the old route.
    """
    if request.method != "POST":
        response = _failure(HTTPStatus.METHOD_NOT_ALLOWED, codes.BAD_REQUEST, "POST only")
        response["Allow"] = "POST"
        return response
    try:
        key = find_key(_secret(request))
    except DatabaseError:
        DATABASE_ERRORS.inc()
        return _failure(HTTPStatus.SERVICE_UNAVAILABLE, codes.INTERNAL)
    if key is None:
        return _failure(HTTPStatus.UNAUTHORIZED, codes.UNAUTHORIZED)
    note_use(key)
    return _answer(request, key, method)


def _answer(request: HttpRequest, key: APIKey, method: str) -> HttpResponse:
    try:
        body = _read_body(request)
        if method == "batch":
            return _json(batch(key, body))
        if not method:
            return _json(old_route(key, body))
        return _respond(request, call(key, method, read(method, body), Budget()))
    except TooMany:
        return _failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, codes.LIMIT_EXCEEDED)
    except OSError:  # the caller is gone
        return _failure(HTTPStatus.BAD_REQUEST, codes.BAD_REQUEST)
    except ClientError as error:  # no request of any method
        return _failure(STATUSES[error.error.code], error.error)


def _secret(request: HttpRequest) -> str:
    """The key that a request presents. It is not read from the address, which is in many logs."""
    secret = request.headers.get("X-API-Key", "")
    if secret:
        return secret
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "apikey" else ""


def _read_body(request: HttpRequest) -> bytes:
    """Read the body, of whatever content type.

    Raises:
        TooMany: it is too large.
        OSError: the caller has gone.
    """
    body = request.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise TooMany
    return body


def _respond(request: HttpRequest, answer: Answer) -> HttpResponse:
    error = answer.error
    if error is not None and request.headers.get("X-Centrifugo-Error-Mode") == "transport":
        status = STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        return _json(msgspec.json.encode(error), status)
    return _json(msgspec.json.encode(answer))


def _failure(status: HTTPStatus, error: codes.Error, detail: str = "") -> HttpResponse:
    """An answer with a status of its own, which does not depend on the method."""
    message = f"{error.message}: {detail}" if detail else error.message
    return _json(msgspec.json.encode(ErrorBody(error.code, message)), status)


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    response = HttpResponse(body, content_type="application/json", status=status)
    response["Cache-Control"] = "no-store"
    return response

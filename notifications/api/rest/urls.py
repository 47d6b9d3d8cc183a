"""The addresses of the REST API, for ``include``.

Every response below them is a problem or a result in JSON, and no cache keeps it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.request import RawPostDataException
from django.urls import URLPattern, path, re_path
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from ...conf import app_settings
from . import document
from .endpoints import api
from .origins import let_pages_read, preflight
from .problems import Problem, respond, too_big

View = Callable[..., HttpResponse]

app_name = "notifications_rest"


def _answered(view: View) -> View:
    """Let a view answer by problems only, and keep its responses out of shared caches."""

    # The authentication checks the CSRF token, because a connection token needs none.
    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest, **arguments: Any) -> HttpResponse:
        response = _answer(view, request, arguments)
        let_pages_read(request, response)
        response.headers["Cache-Control"] = "private, no-store"
        patch_vary_headers(response, ("Authorization", "Cookie"))
        return response

    return answer


def _answer(view: View, request: HttpRequest, arguments: dict[str, Any]) -> HttpResponse:
    try:
        if request.method not in ("GET", "HEAD"):
            _check_body(request)
        response = preflight(request) or view(request, **arguments)
    except Problem as problem:
        return respond(problem)
    if response.status_code == 405:
        allowed = ", ".join(sorted(response.headers["Allow"].split(", ")))
        return respond(Problem(405, f"Use {allowed}.", headers={"Allow": allowed}))
    return response


def _check_body(request: HttpRequest) -> None:
    """Refuse a body that is too large or no JSON, before anybody tries to understand it.

    Raises:
        Problem: its status is 400, 413 or 415.
    """
    try:
        body = request.body
    except RequestDataTooBig:
        raise too_big() from None
    except UnreadablePostError:
        raise Problem(400, "The body did not arrive.") from None
    except RawPostDataException:  # a middleware has read it, as it can read forms
        raise _no_json() from None
    if len(body) > app_settings.MAX_FRAME_SIZE:
        raise too_big()
    if body and request.content_type != "application/json":
        raise _no_json()


def _no_json() -> Problem:
    return Problem(415, "Send the body as application/json.")


def _nothing(request: HttpRequest) -> HttpResponse:
    raise Problem(404, "There is nothing at this address.")


def _operations() -> list[URLPattern]:
    """The operations' own addresses, without the empty root that ninja adds."""
    patterns = [each for each in api.urls[0] if isinstance(each, URLPattern)]
    return [
        path(str(each.pattern), _answered(each.callback), name=each.name)
        for each in patterns
        if each.name != "api-root"
    ]


urlpatterns = [
    path("openapi.json", _answered(document.openapi), name="openapi"),
    path("docs", document.page, name="docs"),
    *_operations(),
    re_path("", _answered(_nothing)),
]

"""The OpenAPI document of the REST API, and the page that shows it. Both are public."""

from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from ninja.openapi import get_schema
from pydantic import TypeAdapter

from . import schemas
from .endpoints import api
from .problems import Problem, respond

#: What Swagger UI is told. It would ask a stranger to check the document if nothing forbade it.
SWAGGER = {
    "url": "openapi.json",
    "layout": "BaseLayout",
    "deepLinking": True,
    "validatorUrl": None,
}


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """The document, with the address of the API as the client has it."""
    root = request.path.removesuffix("/openapi.json")
    return JsonResponse({**_document(), "servers": [{"url": root}]})


@require_safe
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    """Swagger UI, from the static files of ninja, which has to be in ``INSTALLED_APPS``."""
    if not apps.is_installed("ninja"):
        return respond(Problem(404, "This page needs 'ninja' in INSTALLED_APPS."))
    context = {"title": api.title, "swagger": SWAGGER}
    response = render(request, "notifications/rest_api.html", context)
    response.headers["Content-Security-Policy"] = _policy(settings.STATIC_URL)
    return response


@cache
def _document() -> dict[str, Any]:
    document = dict(get_schema(api, path_prefix=""))
    for operations in document["paths"].values():
        # The same as GET, under the same name, which must be there once.
        operations.pop("head", None)
    problem = TypeAdapter(schemas.ProblemDetails).json_schema(ref_template=schemas.REFERENCE)
    named = {**problem.pop("$defs"), schemas.ProblemDetails.__name__: problem}
    document["components"]["schemas"] |= named
    return document


def _policy(static_url: str) -> str:
    """The content security policy of the page: of this site and its static files only.

    The style sheet of Swagger UI has pictures in ``data:`` addresses.
    """
    place = urlsplit(static_url)
    static = f" {place.scheme or 'https'}://{place.netloc}" if place.netloc else ""
    return (
        f"default-src 'self'{static}; img-src 'self'{static} data:; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    )

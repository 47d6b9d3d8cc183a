"""Middleware with a Content Security Policy that only allows the site's own files."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

POLICY = "default-src 'self'; base-uri 'none'; require-trusted-types-for 'script'"


def add_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable:
    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return respond

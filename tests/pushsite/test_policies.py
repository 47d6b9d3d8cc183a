"""Every response has the headers that restrict what browsers do on pages of this site."""

from collections.abc import Callable
from typing import Any

import django
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils.module_loading import import_string
from pytest_django import Settings

from pushsite.policies import middleware_for
from pushsite.urls import urlpatterns as pages
from tests.rooms import make_user

pytestmark = pytest.mark.django_db


def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a bug")


def with_own_policy(request: HttpRequest) -> HttpResponse:
    return HttpResponse(headers={"Content-Security-Policy": "default-src 'none'"})


urlpatterns = [path("fail", fail), path("own", with_own_policy), *pages]


def ask(path: str, **options: Any) -> Any:
    return Client(raise_request_exception=False).get(path, **options)


ANSWERS: dict[str, tuple[Callable[[], Any], int]] = {
    "a page": (lambda: ask("/accounts/login/"), 200),
    "a redirect": (lambda: ask("/notifications/"), 302),
    "the admin": (lambda: ask("/admin/login/"), 200),
    "health": (lambda: ask("/health/"), 200),
    "metrics": (lambda: ask("/metrics"), 403),
    "no page": (lambda: ask("/nope"), 404),
    "a bug": (lambda: ask("/fail"), 500),
    "a bad host": (lambda: ask("/", HTTP_HOST="evil.example"), 400),
    "a form of somebody else": (
        lambda: Client(enforce_csrf_checks=True).post("/accounts/login/"),
        403,
    ),
}


@pytest.mark.parametrize("what", ANSWERS)
@override_settings(ROOT_URLCONF=__name__)
def test_every_response_has_the_headers(what: str) -> None:
    answer, status = ANSWERS[what]
    response = answer()
    assert response.status_code == status
    policy = dict(part.split(" ", 1) for part in response["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "object-src": "'none'",
    }
    assert "camera=(), " in response["Permissions-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"


@override_settings(ROOT_URLCONF=__name__)
def test_a_view_can_set_its_own_policy() -> None:
    assert ask("/own")["Content-Security-Policy"] == "default-src 'none'"


@override_settings(ROOT_URLCONF=__name__)
@pytest.mark.parametrize(("page", "status"), [("/nope", 404), ("/fail", 500)])
def test_debug_pages_of_django_have_no_policy(settings: Settings, page: str, status: int) -> None:
    settings.DEBUG = True
    response = ask(page)
    assert response.status_code == status
    assert "Content-Security-Policy" not in response


def test_the_middleware_of_django_is_used_if_it_exists(settings: Settings) -> None:
    own = "django.middleware.csp.ContentSecurityPolicyMiddleware"
    assert middleware_for((6, 0, 0, "final", 0)) == own
    assert middleware_for((6, 1)) == own
    assert middleware_for((5, 2, 19, "final", 0)) != own
    assert settings.MIDDLEWARE[0] == middleware_for(django.VERSION)
    assert import_string(settings.MIDDLEWARE[0])


def test_metrics_for_staff_have_the_policy(client: Client) -> None:
    client.force_login(make_user("staff", is_staff=True))
    assert "default-src 'self'" in client.get("/metrics")["Content-Security-Policy"]

"""The tags and pages carry the nonce of whatever makes the content security policy."""

import re
from collections.abc import Callable
from typing import Any

import django
import pytest
from csp.constants import NONCE, SELF
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import Context, RequestContext, Template
from django.test import Client, RequestFactory
from django.utils.module_loading import import_string
from pytest_django import Settings

from notifications import broadcast
from notifications.models import Broadcast

pytestmark = pytest.mark.django_db(transaction=True)

DIRECTIVES = {"script-src": [NONCE], "style-src": [SELF, NONCE], "img-src": [SELF]}

TAGS = ("notification_bell", "live_notify_badge", "live_notify_list")

#: What loads code or styles, and so needs the nonce under such a policy.
LOADING = re.compile(r"<script\b[^>]*>|<link\b[^>]*rel=\"(?:stylesheet|modulepreload)\"[^>]*>")

Render = Callable[[HttpRequest], str]


def django_csp(settings: Settings) -> str:
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": DIRECTIVES}
    return "csp.middleware.CSPMiddleware"


def django_itself(settings: Settings) -> str:
    nonce = import_string("django.utils.csp.CSP").NONCE  # since Django 6.0
    settings.SECURE_CSP = {"script-src": [nonce], "style-src": [SELF, nonce]}
    return "django.middleware.csp.ContentSecurityPolicyMiddleware"


SOURCES = [django_csp, *([django_itself] if django.VERSION >= (6, 0) else [])]


@pytest.fixture(params=SOURCES)
def answer(request: pytest.FixtureRequest, settings: Settings, rf: RequestFactory) -> Any:
    """Render a template for a user below the middleware that makes the policy."""
    middleware = import_string(request.param(settings))

    def respond(user: Any, render: Render) -> HttpResponse:
        def view(request: HttpRequest) -> HttpResponse:
            request.user = user
            return HttpResponse(render(request))

        response = middleware(view)(rf.get("/somewhere/"))
        assert isinstance(response, HttpResponse)
        return response

    return respond


def plain(text: str) -> Render:
    template = Template("{% load notifications %}" + text)
    return lambda request: template.render(Context({"request": request}))


def nonces(response: HttpResponseBase) -> set[str]:
    """The nonces in the policy of the response."""
    policy = response.headers["Content-Security-Policy"]
    return set(re.findall(r"'nonce-([^']+)'", policy))


def carried(html: str) -> set[str]:
    """The nonces of all that loads code or styles; "" stands for none."""
    tags = LOADING.findall(html)
    assert tags
    return {found[1] if (found := re.search(r' nonce="([^"]+)"', tag)) else "" for tag in tags}


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_carries_the_nonce_that_the_policy_names(answer: Any, tag: str) -> None:
    response = answer(User.objects.create_user("reader"), plain("{% " + tag + " %}"))
    assert nonces(response) == carried(response.content.decode())
    assert len(nonces(response)) == 1


def test_a_tag_of_an_old_template_carries_the_nonce(answer: Any) -> None:
    text = "{% load notifications_tags %}{% register_notify_callbacks %}"
    response = answer(User.objects.create_user("reader"), plain(text))
    assert nonces(response) == carried(response.content.decode())


def test_all_tags_of_a_page_share_its_nonce_and_two_pages_do_not(answer: Any) -> None:
    reader = User.objects.create_user("reader")
    render = plain("".join("{% " + tag + " %}" for tag in TAGS))
    first, second = (carried(answer(reader, render).content.decode()) for _ in range(2))
    assert len(first) == len(second) == 1
    assert first != second


@pytest.mark.parametrize("text", ["Hello", *("{% " + tag + " %}" for tag in TAGS)])
def test_no_nonce_is_made_where_no_tag_renders_anything(answer: Any, text: str) -> None:
    response = answer(AnonymousUser(), plain(text))
    assert nonces(response) == set()


def test_the_nonce_of_a_context_processor_is_used_without_a_request_in_the_context(
    rf: RequestFactory,
) -> None:
    context = Context({"user": User.objects.create_user("reader"), "csp_nonce": "abc"})
    assert carried(Template("{% load notifications %}{% notification_bell %}").render(context)) == {
        "abc"
    }


def test_without_such_a_policy_nothing_carries_a_nonce(rf: RequestFactory) -> None:
    request = rf.get("/somewhere/")
    request.user = User.objects.create_user("reader")
    template = Template("{% load notifications %}{% notification_bell %}{% live_notify_list %}")
    html = template.render(RequestContext(request))
    assert carried(html) == {""}
    assert "nonce" not in html


@pytest.mark.skipif(django.VERSION < (6, 1), reason="the admin carries nonces from Django 6.1 on")
def test_all_that_the_pages_of_the_admin_load_carries_the_nonce(
    settings: Settings, client: Client
) -> None:
    settings.MIDDLEWARE = [django_itself(settings), *settings.MIDDLEWARE[1:]]
    options = settings.TEMPLATES[0]["OPTIONS"]
    processors = [*options["context_processors"], "django.template.context_processors.csp"]
    changed = {**options, "context_processors": processors}
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": changed}]
    client.force_login(User.objects.create_superuser("admin"))
    broadcast("To all")
    row = Broadcast.objects.get().pk
    for page in (
        *("notification/", "connection/", "broadcast/", "broadcast/add/"),
        *(f"broadcast/{row}/change/", f"broadcast/{row}/withdraw/"),
    ):
        response = client.get(f"/admin/notifications/{page}")
        assert carried(response.content.decode()) == nonces(response), page


def test_all_that_the_pages_load_carries_the_nonce(settings: Settings, client: Client) -> None:
    # In place of the site's own policy.
    settings.MIDDLEWARE = [django_csp(settings), *settings.MIDDLEWARE[1:]]
    client.force_login(User.objects.create_user("reader"))
    for path in ("/", "/notifications/", "/notifications/archived/", "/notifications/topics/"):
        response = client.get(path)
        assert carried(response.content.decode()) == nonces(response), path
    response = Client().get("/accounts/login/")
    assert carried(response.content.decode()) == nonces(response)

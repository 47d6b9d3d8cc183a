"""The OpenAPI document: it is complete, and every answer to generated requests keeps to it."""

import importlib
import os
import re
import sys
from collections import defaultdict
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client, override_settings
from django.urls import include, path
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
)

from notifications import notify
from notifications.api import rest
from notifications.api.rest import endpoints, urls
from tests.api.callers import ROOT, App, problem

pytestmark = pytest.mark.django_db(transaction=True)

READS = ("listNotifications", "getNotification", "countNotifications", "listTopics")
CHANGES = (
    *("markRead", "markUnread", "archive", "markAllRead", "archiveAll"),
    *("muteChannel", "joinTopic", "leaveTopic", "makeToken"),
)

#: Those that name something that is not there, when the name is made up.
WITH_NAME = ("getNotification", "muteChannel", "joinTopic", "leaveTopic")

#: Generated requests for each operation.
EXAMPLES = 300 if os.environ.get("SOAK") else 10


@pytest.fixture
def described(tokens: None, settings: Any) -> Any:
    """The document as the site gives it, and the site to send requests to."""
    settings.ALLOWED_HOSTS = ["*"]
    # Generated requests come faster than those of any user.
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "COMMAND_BURST": 10**9}
    return schemathesis.openapi.from_wsgi(f"{ROOT}/openapi.json", get_wsgi_application())


@pytest.fixture
def callers(tokens: None, user: Any) -> dict[str, dict[str, Any]]:
    """What requests carry in each way to authenticate."""
    notify(user, "A notification", data={"order": 7}, actor=user)
    app = App.in_session_of(user)
    cookies = {name: each.value for name, each in app.client.cookies.items()}
    return {
        "stranger": {},
        "session": {"headers": app.headers, "cookies": cookies},
        "token": {"headers": App.with_token_of(user).headers},
    }


def unfit(case: Case, carried: dict[str, Any]) -> list[Any]:
    """The checks that do not fit a request.

    The document cannot say what a cursor is like. Two checks overlook that a request carries other
    cookies than those made up; nothing but these can be wrong where no arguments are taken.
    """
    found: list[Any] = [positive_data_acceptance] if (case.query or {}).get("cursor") else []
    if "cookies" in carried:
        found.append(ignored_auth)
        if case.operation.definition.raw["operationId"] == "makeToken":
            found.append(negative_data_rejection)
    return found


@pytest.mark.parametrize("kind", GenerationMode)
@pytest.mark.parametrize("operation", [*READS, *CHANGES])
def test_every_answer_keeps_to_the_document(
    described: Any, callers: dict[str, dict[str, Any]], operation: str, kind: GenerationMode
) -> None:
    cases = described.find_operation_by_id(operation).as_strategy(generation_mode=kind)
    seen: dict[str, set[int]] = defaultdict(set)

    @given(cases)
    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    def check(case: Case) -> None:
        for who, carried in callers.items():
            answer = case.call_and_validate(excluded_checks=unfit(case, carried), **carried)
            seen[who].add(answer.status_code)

    check()
    assert all(status >= 400 for status in seen["stranger"])
    if kind.is_positive and operation not in WITH_NAME:
        assert 200 in seen["session"]


def document() -> dict[str, Any]:
    answer = Client().get(f"{ROOT}/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations() -> dict[str, dict[str, Any]]:
    """Every operation by its id, with its method."""
    return {
        operation["operationId"]: {"method": method, **operation}
        for methods in document()["paths"].values()
        for method, operation in methods.items()
    }


def test_the_document_has_every_operation_once_and_says_what_it_does() -> None:
    found = operations()
    assert set(found) == {*READS, *CHANGES}
    assert {name for name, each in found.items() if each["method"] == "get"} == set(READS)
    assert {name for name, each in found.items() if each["method"] == "post"} == set(CHANGES)
    for operation in found.values():
        assert re.fullmatch(r"[A-Z][a-z ]+", operation["summary"])
        assert operation["description"].endswith(".")
        assert operation["tags"]


def test_every_operation_says_who_may_ask_and_what_may_go_wrong() -> None:
    both: list[Any] = [{"Token": []}, {"Session": []}]
    for name, operation in operations().items():
        assert operation["security"] == ([{"Session": []}] if name == "makeToken" else both)
        problems = {status: each for status, each in operation["responses"].items() if status > "3"}
        assert {"401", "429", "503"} <= set(problems)
        assert ("403" in problems) == (operation["method"] == "post")
        for each in problems.values():
            assert list(each["content"]) == ["application/problem+json"]


def test_a_process_builds_validators_of_results_only_when_it_starts() -> None:
    operations = [
        operation
        for _, router in endpoints.api._routers
        for view in router.path_operations.values()
        for operation in view.operations
    ]
    assert len(operations) > 10
    assert all(operation.response_models.keys() == {200} for operation in operations)


def test_the_document_gives_the_address_that_the_client_knows() -> None:
    client = Client()
    assert document()["servers"] == [{"url": ROOT}]
    answer = client.get(f"{ROOT}/openapi.json", SCRIPT_NAME="/portal", FORCE_SCRIPT_NAME="/portal")
    assert answer.json()["servers"] == [{"url": f"/portal{ROOT}"}]


# Where a site includes the API


urlpatterns = [
    path("a/v1/", include("notifications.api.rest.urls")),
    path("b/", include(("notifications.api.rest.urls", "again"), namespace="second")),
]


@override_settings(ROOT_URLCONF=__name__)
def test_a_site_may_include_it_anywhere_and_twice(user: Any) -> None:
    client = Client()
    client.force_login(user)
    for root in ("/a/v1", "/b"):
        assert client.get(f"{root}/counts").status_code == 200
        assert client.get(f"{root}/openapi.json").json()["servers"] == [{"url": root}]
        assert client.get(f"{root}/docs").status_code == 200


def test_the_modules_may_be_imported_again(app: App) -> None:
    for module in (endpoints, urls):
        importlib.reload(module)
    assert app.get("/counts").status_code == 200


def test_without_django_ninja_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ninja", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pushsite\[api\]'"):
        importlib.reload(rest)


# The page


def test_the_page_loads_nothing_from_elsewhere() -> None:
    answer = Client().get(f"{ROOT}/docs")
    html = answer.content.decode()
    assert "://" not in html
    assert "swagger-ui-bundle" in html
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; img-src")
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("static_url", "sources"),
    [
        ("static/", "'self'"),
        ("/push/static/", "'self'"),
        ("https://static.example/x/", "'self' https://static.example"),
        ("//static.example/", "'self' https://static.example"),
    ],
)
def test_the_page_may_load_the_static_files_of_the_site(static_url: str, sources: str) -> None:
    with override_settings(STATIC_URL=static_url):
        policy = Client().get(f"{ROOT}/docs").headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src {sources}; img-src {sources} data:;")


def test_without_the_files_of_ninja_there_is_no_page(settings: Any) -> None:
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "ninja"]
    answer = Client().get(f"{ROOT}/docs")
    assert problem(answer) == (404, "This page needs 'ninja' in INSTALLED_APPS.")
    assert Client().get(f"{ROOT}/openapi.json").status_code == 200

"""Pages of other origins use the REST API if they may open a socket, and no other page does."""

from typing import Any

import pytest
from django.test import AsyncClient

from notifications import inbox, notify
from notifications.connect.tokens import make_token
from notifications.database.lanes import in_database
from tests.api.callers import ROOT, App, problem

pytestmark = pytest.mark.django_db(transaction=True)

ALLOWED = "https://app.example"

CORS = "Access-Control-Allow-Origin"


@pytest.fixture(autouse=True)
def origins(tokens: None, settings: Any) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "ALLOWED_ORIGINS": [ALLOWED]}


def page_of(origin: str, app: App) -> App:
    app.headers |= {"Origin": origin}
    return app


def ask(app: App, path: str, headers: str) -> Any:
    """Send the preflight of a POST, which has no credentials."""
    asked = {
        "Origin": app.headers["Origin"],
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
    }
    return app.client.options(f"{ROOT}{path}", headers=asked)


@pytest.mark.parametrize("path", ["/read-all", "/counts", "/nothing"])
def test_an_allowed_page_is_told_that_it_may_ask(user: Any, path: str) -> None:
    answer = ask(page_of(ALLOWED, App.with_token_of(user)), path, "authorization,content-type")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers[CORS] == ALLOWED
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert {"authorization", "content-type"} <= set(allowed.split(", "))
    assert "Origin" in answer.headers["Vary"]


def test_an_allowed_page_with_a_token_reads_and_changes(user: Any) -> None:
    notify(user, "new")
    app = page_of(ALLOWED, App.with_token_of(user))
    for answer in (app.get("/counts"), app.post("/read-all")):
        assert answer.status_code == 200
        assert answer.headers[CORS] == ALLOWED
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert inbox.unread_count(user) == 0


def test_an_allowed_page_reads_errors_too() -> None:
    answer = page_of(ALLOWED, App()).get("/counts")
    assert problem(answer)[0] == 401
    assert answer.headers[CORS] == ALLOWED
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://app.example", f"{ALLOWED}, {ALLOWED}", "*"]
)
def test_no_other_page_is_allowed_anything(user: Any, origin: str) -> None:
    app = page_of(origin, App.with_token_of(user))
    for answer in (ask(app, "/counts", "authorization"), app.get("/counts")):
        assert CORS not in answer.headers
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in answer.headers["Vary"]


def test_an_allowed_page_without_a_token_needs_an_origin_that_csrf_trusts(
    user: Any, settings: Any
) -> None:
    notify(user, "new")
    app = page_of(ALLOWED, App.in_session_of(user))
    assert problem(app.post("/read-all"))[0] == 403
    settings.CSRF_TRUSTED_ORIGINS = [ALLOWED]
    assert app.post("/read-all").status_code == 200


def test_options_that_are_no_preflight_are_a_wrong_method(user: Any) -> None:
    app = App.with_token_of(user)
    answer = app.client.options(f"{ROOT}/counts", headers=app.headers)
    assert problem(answer) == (405, "Use GET, HEAD.")
    assert CORS not in answer.headers


async def test_it_is_the_same_over_asgi(user: Any) -> None:
    token = await in_database(make_token, user)
    client = AsyncClient()
    for origin, allowed in ((ALLOWED, ALLOWED), ("https://evil.example", None)):
        headers = {"Authorization": f"Bearer {token}", "Origin": origin}
        answer = await client.get(f"{ROOT}/counts", headers=headers)
        assert answer.status_code == 200
        assert answer.headers.get(CORS) == allowed

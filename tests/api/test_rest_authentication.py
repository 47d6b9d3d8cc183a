"""Whose requests the REST API answers: those of a session with its CSRF token, or of a token."""

import logging
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import User
from django.test import Client

from notifications import inbox, notify
from notifications.connect.authentication import Credentials, Identity, identify
from notifications.connect.tokens import make_token
from tests.api.callers import ROOT, SECRET, App, problem
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

#: Every address, and how it is asked.
READS = ("/notifications", "/notifications/1", "/counts", "/topics")
CHANGES = (
    *("/read", "/unread", "/archive", "/read-all", "/archive-all"),
    *("/mute", "/topics/join", "/topics/leave", "/token"),
)


@pytest.mark.parametrize("path", [*READS, *CHANGES])
def test_nobody_gets_nothing(path: str) -> None:
    app = App()
    answer = (
        app.get(path) if path in READS else app.post(path, {"ids": [1], "channel": "broadcast"})
    )
    assert problem(answer) == (401, "You are not logged in.")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", CHANGES)
def test_a_session_without_its_csrf_token_changes_nothing(
    tokens: None, user: Any, path: str
) -> None:
    app = App.in_session_of(user)
    pk = notify(user, "new")[0]
    for headers in ({}, {"X-CSRFToken": "x" * 32}):
        app.headers = headers
        answer = app.post(path, {"ids": [pk], "channel": "broadcast"})
        assert problem(answer) == (403, "The CSRF token is missing or wrong.")
    assert inbox.unread_count(user) == 1


def test_a_session_reads_without_a_csrf_token(user: Any) -> None:
    app = App()
    app.client.force_login(user)
    assert app.get("/counts").status_code == 200


def test_a_page_of_another_site_cannot_change_anything(user: Any, app: App) -> None:
    notify(user, "new")
    app.headers |= {"Origin": "https://evil.example"}
    assert problem(app.post("/read-all"))[0] == 403
    assert inbox.unread_count(user) == 1


def test_a_token_needs_no_csrf_token(tokens: None, user: Any) -> None:
    notify(user, "new")
    app = App.with_token_of(user)
    assert app.post("/read-all").json() == {"unread": 0}
    assert app.client.cookies == {}


def test_a_token_counts_and_not_the_session_beside_it(tokens: None, user: Any) -> None:
    other = make_user("bob")
    notify(other, "For Bob")
    app = App.in_session_of(user)
    app.headers = App.with_token_of(other).headers
    assert app.get("/counts").json()["unread"] == 1
    app.headers = {"Authorization": "Bearer forged"}
    assert problem(app.get("/counts")) == (401, "The token is not valid.")


def test_a_scheme_that_is_not_ours_is_left_to_the_proxy(
    user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = True
    app = App.in_session_of(user)
    app.headers = {"Authorization": "Basic c3RhZ2luZzpzZWNyZXQ="}
    with caplog.at_level(logging.DEBUG):
        assert app.get("/counts").status_code == 200
    assert "c3RhZ2luZzpzZWNyZXQ" not in caplog.text


def sign(**claims: Any) -> str:
    return jwt.encode(claims, SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é",
        jwt.encode({"sub": "1"}, "another-key-that-is-long-enough-for-hs256", algorithm="HS256"),
        jwt.encode({"sub": "1"}, "", algorithm="none"),
        sign(),
        sign(sub=""),
        sign(sub="987654"),
        sign(sub="9" * 400),
        sign(sub="1", aud="elsewhere"),
    ],
)
def test_a_token_that_is_not_valid_is_refused(tokens: None, user: Any, token: str) -> None:
    answer = App({"Authorization": f"Bearer {token}"}).get("/counts")
    assert problem(answer) == (401, "The token is not valid.")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_an_expired_token_is_told_from_a_wrong_one(tokens: None, user: Any) -> None:
    app = App.with_token_of(user, lifetime=-1)
    assert problem(app.get("/counts")) == (401, "The token has expired: get a new one.")


def test_a_token_ends_with_the_password(tokens: None, user: Any) -> None:
    app = App.with_token_of(user, lifetime=None)
    assert app.get("/counts").status_code == 200
    user.set_password("new")
    user.save()
    assert problem(app.get("/counts"))[0] == 401


def test_the_audience_of_a_token_must_be_ours(tokens: None, user: Any, settings: Any) -> None:
    app = App.with_token_of(user)
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "TOKEN_AUDIENCE": "app"}
    assert problem(app.get("/counts"))[0] == 401
    assert App.with_token_of(user).get("/counts").status_code == 200


def test_no_token_is_taken_without_a_secret(user: Any, settings: Any) -> None:
    token = sign(sub=str(user.pk))
    assert problem(App({"Authorization": f"Bearer {token}"}).get("/counts"))[0] == 401


def test_a_deactivated_user_gets_nothing(tokens: None, user: Any) -> None:
    apps = [App.in_session_of(user), App.with_token_of(user)]
    assert [app.get("/counts").status_code for app in apps] == [200, 200]
    User.objects.update(is_active=False)
    assert [problem(app.get("/counts"))[0] for app in apps] == [401, 401]


def test_a_backend_that_lets_inactive_users_log_in_does_not_help_them(
    user: Any, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    app = App.in_session_of(user)
    assert app.get("/counts").status_code == 200
    User.objects.update(is_active=False)
    assert problem(app.get("/counts"))[0] == 401


# Fresh tokens


def test_a_session_gets_a_token_for_the_socket(tokens: None, user: Any, app: App) -> None:
    answer = app.post("/token").json()
    assert answer["expires_in"] == 3600
    (found,) = identify([Credentials("", answer["token"])])
    assert isinstance(found, Identity)
    assert found.user == user
    assert App({"Authorization": f"Bearer {answer['token']}"}).get("/counts").status_code == 200


def test_a_token_cannot_prolong_itself(tokens: None, user: Any) -> None:
    assert problem(App.with_token_of(user).post("/token")) == (401, "You are not logged in.")


def test_a_site_without_a_secret_makes_no_tokens(app: App) -> None:
    detail = "This site makes no tokens: TOKEN_SECRET is not set."
    assert problem(app.post("/token")) == (404, detail)


def test_no_credential_reaches_the_log(
    tokens: None, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = App.in_session_of(user)
    secrets = [app.client.cookies["sessionid"].value, make_token(user), "forged.token.here"]
    with caplog.at_level(logging.DEBUG):
        secrets.append(app.post("/token").json()["token"])
        for token in secrets:
            App({"Authorization": f"Bearer {token}"}).post("/read", {"ids": ["secret body"]})
        Client(enforce_csrf_checks=True).post(f"{ROOT}/read")
    messages = "\n".join(record.getMessage() for record in caplog.records)
    assert [secret for secret in (*secrets, "secret body") if secret in messages] == []

"""Tests of connection tokens: what invalidates them, and their audience."""

import json
import time
from typing import Any

import jwt
import pytest
from django.contrib.auth.base_user import AbstractBaseUser

from notifications.connect import tokens
from notifications.connect.authentication import (
    Credentials,
    ExpiredToken,
    Identity,
    InvalidToken,
    identify,
    make_token,
)
from notifications.connect.tokens import LONGEST_REMEMBERED, MAX_EXPIRY
from tests.rooms import make_user

pytestmark = pytest.mark.django_db

SECRET = "a secret of the tests that is long enough for every algorithm of JWT"


@pytest.fixture(autouse=True)
def secret(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOKEN_SECRET": SECRET}


def outcome(token: str) -> type:
    """Return the type that :func:`identify` returns for a token."""
    (found,) = identify([Credentials("", token)])
    return type(found)


def sign(algorithm: str = "HS256", **claims: Any) -> str:
    """Return a token as another backend signs it."""
    return jwt.encode(claims, SECRET, algorithm)


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def test_a_change_of_the_password_invalidates_a_token() -> None:
    user, other = make_user(), make_user("other")
    before = make_token(user, None)
    others = make_token(other)
    assert outcome(before) is Identity
    user.set_password("another")
    user.save()
    assert outcome(before) is ExpiredToken
    assert outcome(make_token(user)) is Identity
    assert outcome(others) is Identity
    user.set_password("another")  # the same one again, with another salt
    user.save()
    assert outcome(before) is ExpiredToken


def test_other_changes_of_the_user_do_not_make_a_token_expire() -> None:
    user = make_user()
    token = make_token(user)
    user.first_name, user.is_staff = "Another", True
    user.save()
    assert outcome(token) is Identity
    user.is_active = False
    user.save()
    assert outcome(token) is InvalidToken


def test_a_token_of_a_user_without_a_password_is_valid_until_one_is_set() -> None:
    user = make_user()
    user.set_unusable_password()
    user.save()
    token = make_token(user)
    assert outcome(token) is Identity
    user.set_password("the first one")
    user.save()
    assert outcome(token) is ExpiredToken


def test_a_token_is_valid_while_its_secret_key_is_a_fallback(settings: Any) -> None:
    token = make_token(make_user())
    former = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "k" * 50, ["f" * 50, former]
    assert outcome(token) is Identity
    settings.SECRET_KEY_FALLBACKS = []
    assert outcome(token) is ExpiredToken


def test_a_user_model_without_a_password_has_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for Django's own sessions, the hash is checked only if the model has one."""
    user = make_user()
    before = make_token(user)
    monkeypatch.delattr(AbstractBaseUser, "get_session_auth_hash")
    assert set(claims_of(make_token(user))) == {"sub", "exp"}
    assert outcome(make_token(user)) is Identity
    assert outcome(before) is Identity


def test_a_user_model_without_fallbacks_has_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user()
    token = make_token(user)
    monkeypatch.delattr(AbstractBaseUser, "get_session_auth_fallback_hash")
    assert outcome(token) is Identity
    user.set_password("another")
    user.save()
    assert outcome(token) is ExpiredToken


def test_a_token_without_credentials_is_valid_until_it_expires() -> None:
    user = make_user()
    token = sign(sub=str(user.pk), exp=int(MAX_EXPIRY))
    assert outcome(token) is Identity
    user.set_password("another")
    user.save()
    assert outcome(token) is Identity


def test_a_token_shows_neither_the_password_nor_its_hash() -> None:
    user = make_user()
    user.set_password("a-private-password")
    user.save()
    claims = claims_of(make_token(user))
    assert set(claims) == {"sub", "exp", "credentials"}
    assert len(claims["credentials"]) == 16
    assert claims["credentials"] not in user.password + user.get_session_auth_hash()


@pytest.mark.parametrize(
    "credentials", ["", "0" * 15, "0" * 17, "0" * 16 + "\n", "Ä" * 16, "\ud800" * 16, 7, None, []]
)
def test_malformed_credentials_are_invalid(credentials: Any) -> None:
    claims = {"sub": str(make_user().pk), "credentials": credentials}
    assert outcome(sign(**claims)) is (Identity if credentials == "" else InvalidToken)


def test_credentials_of_another_user_are_out_of_date() -> None:
    user, other = make_user(), make_user("other")
    other.set_password("a private one")
    credentials = claims_of(make_token(other))["credentials"]
    assert outcome(sign(sub=str(user.pk), credentials=credentials)) is ExpiredToken


@pytest.mark.parametrize(
    ("configured", "audience", "expected"),
    [
        ("", None, Identity),
        ("", "push", InvalidToken),
        ("", ["push"], InvalidToken),
        ("push", None, InvalidToken),
        ("push", "push", Identity),
        ("push", ["other", "push"], Identity),
        ("push", "other", InvalidToken),
        ("push", "push ", InvalidToken),
        ("push", ["other"], InvalidToken),
        ("push", [], InvalidToken),
        ("push", 7, InvalidToken),
        ("push", [7], InvalidToken),
        ("push", {"push": 1}, InvalidToken),
    ],
)
def test_a_token_is_valid_for_its_audience_only(
    settings: Any, configured: str, audience: Any, expected: type
) -> None:
    settings.NOTIFICATIONS = {"TOKEN_SECRET": SECRET, "TOKEN_AUDIENCE": configured}
    claims = {"sub": str(make_user().pk)} | ({} if audience is None else {"aud": audience})
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, "HS256")
    assert outcome(token) is expected


def test_our_own_tokens_name_the_audience(settings: Any) -> None:
    user = make_user()
    before = make_token(user)
    settings.NOTIFICATIONS = {"TOKEN_SECRET": SECRET, "TOKEN_AUDIENCE": "push"}
    assert outcome(make_token(user)) is Identity
    assert outcome(before) is InvalidToken


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "none"])
def test_other_algorithms_are_rejected(algorithm: str) -> None:
    key = "" if algorithm == "none" else SECRET
    token = jwt.encode({"sub": str(make_user().pk)}, key, algorithm)
    assert outcome(token) is InvalidToken


def remembered() -> tuple[int, int]:
    """How many tokens are remembered, and how often one was read that was not."""
    found = tokens._remembered_claims.cache_info()
    return found.currsize, found.misses


def test_a_token_that_is_presented_again_is_not_read_again() -> None:
    token = make_token(make_user())
    assert outcome(token) is Identity
    before = remembered()
    assert outcome(token) is Identity
    assert remembered() == before


def test_a_remembered_token_expires() -> None:
    token = sign(sub=str(make_user().pk), exp=int(time.time()) + 1)
    deadline = time.monotonic() + 60
    found = {outcome(token)}
    while ExpiredToken not in found and time.monotonic() < deadline:
        found.add(outcome(token))
    assert found == {Identity, ExpiredToken}


def test_a_remembered_token_is_worth_nothing_under_another_secret(settings: Any) -> None:
    token = make_token(make_user())
    assert outcome(token) is Identity
    settings.NOTIFICATIONS = {"TOKEN_SECRET": SECRET[::-1]}
    assert outcome(token) is InvalidToken


def test_p5_only_genuine_and_short_tokens_are_remembered() -> None:
    user = make_user()
    before, _ = remembered()
    assert outcome(make_token(user)[:-8] + "AAAAAAAA") is InvalidToken
    assert outcome(make_token(user, -1.0)) is ExpiredToken
    assert outcome(sign(sub=str(user.pk), more="x" * LONGEST_REMEMBERED)) is Identity
    assert remembered()[0] == before

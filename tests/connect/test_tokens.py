"""Tests of connection tokens: what invalidates them, and their audience."""

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from django.contrib.auth.base_user import AbstractBaseUser

from notifications.connect.authentication import (
    Credentials,
    ExpiredToken,
    Identity,
    InvalidToken,
    identify,
    make_token,
)
from notifications.connect.tokens import MAX_EXPIRY, Claims, read_plain_token, read_token
from tests.rooms import make_user

pytestmark = pytest.mark.django_db

SECRET = "a secret of the tests that is long enough for every algorithm of JWT"


@pytest.fixture(autouse=True)
def secret(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOKEN_SECRET": SECRET}


def outcome(token: str) -> type:
    """Return the type that :func:`identify` returns for a token.

    If it can be read without the library, the claims must be the same.
    """
    plain = read_plain_token(token)
    assert plain is None or plain == read_token(token)
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


@pytest.mark.parametrize("audience", ["", "push"])
@pytest.mark.parametrize("lifetime", [None, 60.0])
def test_our_own_tokens_are_read_without_the_library(
    settings: Any, lifetime: float | None, audience: str
) -> None:
    settings.NOTIFICATIONS = {"TOKEN_SECRET": SECRET, "TOKEN_AUDIENCE": audience}
    token = make_token(make_user(), lifetime)
    claims = read_plain_token(token)
    assert isinstance(claims, Claims)
    assert claims == read_token(token)


def test_a_token_of_another_backend_is_read_without_the_library() -> None:
    for header in ({"alg": "HS256", "typ": "JWT"}, {"typ": "JWT", "alg": "HS256"}):
        token = raw(json.dumps(header, separators=(",", ":")), '{"sub": "7"}')
        assert read_plain_token(token) == Claims("7", None, "") == read_token(token)


def raw(header: str, claims: str, secret: str = SECRET) -> str:
    """Sign any text."""
    parts = [urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, claims)]
    signed = b".".join(parts)
    digest = hmac.digest(secret.encode(), signed, "sha256")
    return (signed + b"." + urlsafe_b64encode(digest).rstrip(b"=")).decode()


HEADER = '{"alg":"HS256","typ":"JWT"}'


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c.d",
        "\u00e4." * 3,
        raw(HEADER, '{"sub": "7"}', "another secret"),
        raw('{"alg":"none","typ":"JWT"}', '{"sub": "7"}'),
        raw('{"alg":"HS256","typ":"JWT","crit":["b64"],"b64":false}', '{"sub": "7"}'),
        raw(HEADER, "no JSON"),
        raw(HEADER, "[]"),
        raw(HEADER, "{}"),
        raw(HEADER, '{"sub": 7}'),
        raw(HEADER, '{"sub": null}'),
        raw(HEADER, '{"sub": "7", "exp": 1}'),
        raw(HEADER, '{"sub": "7", "exp": null}'),
        raw(HEADER, '{"sub": "7", "exp": "soon"}'),
        raw(HEADER, '{"sub": "7", "exp": 1e400}'),
        raw(HEADER, '{"sub": "7", "nbf": 99999999999}'),
        raw(HEADER, '{"sub": "7", "aud": "push"}'),
        raw(HEADER, '{"sub": "7", "channel": "chat:1"}'),
        raw(HEADER, '{"sub": "7", "credentials": "short"}'),
    ],
)
def test_no_other_token_is_read_without_the_library(token: str) -> None:
    assert read_plain_token(token) is None
    changed = raw(HEADER, '{"sub": "7"}')[:-2] + "AA"
    assert read_plain_token(changed) is None


def test_without_a_secret_no_token_is_valid(settings: Any) -> None:
    token = make_token(make_user())
    settings.NOTIFICATIONS = {}
    assert read_plain_token(token) is None
    assert outcome(token) is InvalidToken

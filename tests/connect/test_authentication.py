"""Tests of authentication: tokens, sessions, and what invalidates them."""

import json
import math
import time
import uuid
from typing import Any

import jwt
import pytest
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.backends.cache import SessionStore as CacheSession
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import DataError, models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.connect import authentication
from notifications.connect.authentication import (
    Anonymous,
    Credentials,
    ExpiredToken,
    Identity,
    InvalidToken,
    confirm,
    credentials_of,
    identify,
    make_token,
    parse_key,
    valid_sessions,
)
from notifications.connect.sessions import session_digest
from notifications.connect.tokens import MAX_EXPIRY
from notifications.connect.users import read_users
from tests.peers import log_in
from tests.rooms import make_user, queries

pytestmark = pytest.mark.django_db

SECRET = "a secret of the tests that is long enough for every algorithm of JWT"


def by_session(key: str) -> Identity | None:
    """Return the identity that :func:`identify` finds for a session key; None for none."""
    (found,) = identify([Credentials(key, "")])
    return found if isinstance(found, Identity) else None


def by_token(token: str) -> Identity:
    """Return the identity of a connection token, or raise the error of :func:`identify`."""
    (found,) = identify([Credentials("", token)])
    if isinstance(found, Exception):
        raise found
    return found


@pytest.fixture(autouse=True)
def secret(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOKEN_SECRET": SECRET}


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode(claims, secret, algorithm)


# Tokens


def test_a_token_authenticates_its_user_until_it_expires() -> None:
    user = make_user()
    identity = by_token(make_token(user, 60))
    assert identity.user == user
    assert identity.session == ""
    assert identity.expires == pytest.approx(time.time() + 60, abs=5)
    assert by_token(make_token(user, None)).expires is None


def test_an_expired_token_is_distinguished_from_a_forged_one() -> None:
    user = make_user()
    with pytest.raises(ExpiredToken):
        by_token(token(sub=str(user.pk), exp=int(time.time()) - 1))
    with pytest.raises(InvalidToken):
        by_token(token("another secret, long enough to be one", sub=str(user.pk), exp=1))


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        "a.b.c",
        "é.é.é",
        "." * 100,
        "A" * 60_000,
    ],
)
def test_anything_but_a_token_is_invalid(wrong: str) -> None:
    with pytest.raises(InvalidToken):
        by_token(wrong)


def test_tokens_with_wrong_claims_are_invalid() -> None:
    user = make_user()
    off = make_user("off", is_active=False)
    for wrong in (
        token(),
        token(sub=str(user.pk), nbf=int(time.time()) + 60),
        token(sub=str(user.pk), exp="soon"),
        token(sub=str(off.pk)),
        token(sub=str(user.pk + 1000)),
        token(sub=str(10**40)),
        token(sub="-1"),
        token(sub=f" {user.pk}x"),
        jwt.encode({"sub": str(user.pk)}, "", "none"),
        token(SECRET, "HS512", sub=str(user.pk)),
    ):
        with pytest.raises(InvalidToken):
            by_token(wrong)


#: Claims that fit no primary key or no clock. Genuine tokens can hold any JSON.
STRANGE: dict[str, list[Any]] = {
    "sub": [
        *(str(2**power) for power in (31, 63, 64, 200)),
        str(-(2**63) - 1),
        "9" * 4000,
        "9" * 5000,  # more digits than int() takes
        "",
        " 1",
        "01",
        "1_0",
        "+1",
        "1.0",
        "1e3",
        "nan",
        "٣",
        "\x00",
        "1\x00",
        "\ud800",
        "1\udfff",
        "None",
        "true",
        "x" * 60_000,
        1,
        0,
        2**70,
        True,
        1.5,
        math.nan,
        math.inf,
        None,
        [],
        [1],
        {},
        {"a": 1},
    ],
    "exp": [10**400, -(10**400), -1, math.nan, math.inf, -math.inf, True, [], {}, "x", "1" * 5000],
    "credentials": ["x", "\ud800", 7, None, [], {}],
    "aud": ["x", "", "\ud800", 7, [], {}],
    "nbf": [10**400, math.nan, math.inf, [], {}, "x"],
    "iat": [10**400, math.nan, math.inf, [], {}, "x"],
}


@pytest.mark.parametrize(
    ("claim", "value"),
    [(claim, value) for claim, values in STRANGE.items() for value in values],
    ids=lambda value: repr(value)[:20],
)
def test_a_strange_token_does_not_affect_others_of_its_batch(claim: str, value: Any) -> None:
    user = make_user()
    claims = {"sub": str(user.pk + 3), claim: value}
    good = Credentials("", make_token(user))
    strange = Credentials("", sign(claims))
    first, spoiled, last = identify([good, strange, good])
    assert isinstance(first, Identity)
    assert isinstance(last, Identity)
    assert isinstance(spoiled, InvalidToken | ExpiredToken)


def sign(claims: dict[str, Any]) -> str:
    """Return a genuine token of claims that ``jwt.encode`` would reject."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, "HS256")


@pytest.mark.parametrize("expires", [2**31, 2**40, 2**64, 1e300])
def test_a_token_with_a_distant_expiry_is_valid(expires: float) -> None:
    identity = by_token(sign({"sub": str(make_user().pk), "exp": expires}))
    assert identity.expires is not None
    assert time.time() < identity.expires <= MAX_EXPIRY


@pytest.mark.parametrize("value", [None, [], {}, 2**70, True, 1.5, "\x00", "\ud800", "x" * 9000])
def test_a_strange_session_does_not_affect_others_of_its_batch(value: Any) -> None:
    user = make_user()
    key, strange = log_in(user), SessionStore()
    strange[SESSION_KEY] = value
    strange.save()
    assert strange.session_key
    found = identify([Credentials(key, ""), Credentials(strange.session_key, "")])
    assert [type(one) for one in found] == [Identity, Anonymous]
    assert valid_sessions([key, strange.session_key]) == {key}


@pytest.mark.parametrize(
    ("field", "good", "strange"),
    [
        (models.UUIDField(), str(uuid.UUID(int=5)), ["5", "\x00", "g" * 32, "\ud800", "{}"]),
        (models.CharField(max_length=9), "ada", ["\x00", "a\x00b", "\ud800"]),
        (models.BigAutoField(), "5", [str(2**63), "1e3", "", "\x00"]),
        (models.DecimalField(), "5", ["1e999999", "x", "\x00"]),
    ],
)
def test_ids_that_fit_no_column_are_not_keys_of_any_type(
    field: Any, good: str, strange: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_user_model()._meta, "pk", field)
    assert str(parse_key(good)) == good
    assert {parse_key(value) for value in strange} == {None}


def test_a_key_that_the_database_rejects_does_not_affect_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user, other = make_user(), make_user("other")

    def refusing(keys: Any) -> Any:
        if other.pk in keys:
            raise DataError("out of range")
        return read_users(keys)

    monkeypatch.setattr(authentication, "read_users", refusing)
    found = identify([Credentials("", make_token(each)) for each in (other, user, other)])
    assert [type(one) for one in found] == [InvalidToken, Identity, InvalidToken]


def test_without_a_secret_no_token_is_valid(settings: Any) -> None:
    user = make_user()
    good = make_token(user)
    settings.NOTIFICATIONS = {}
    with pytest.raises(InvalidToken):
        by_token(good)
    with pytest.raises(InvalidToken):
        by_token(jwt.encode({"sub": str(user.pk)}, "x" * 32, "HS256"))
    with pytest.raises(ValueError, match="TOKEN_SECRET"):
        make_token(user)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.from_regex(
        r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}", fullmatch=True
    )
)
def test_any_text_is_rejected_without_an_exception(text: str) -> None:
    (found,) = identify([Credentials("", text)]) if text else [InvalidToken()]
    assert isinstance(found, InvalidToken | ExpiredToken)


# Sessions


def test_a_session_authenticates_its_user() -> None:
    user = make_user()
    key = log_in(user)
    identity = by_session(key)
    assert identity is not None
    assert identity.user == user
    assert identity.session == session_digest(key)
    assert key not in identity.session
    assert identity.expires is None


@pytest.mark.parametrize("key", ["", "short", "\x00" * 32, "é" * 32, "a" * 5000, "x" * 32])
def test_an_invalid_session_key_authenticates_nobody(key: str) -> None:
    assert by_session(key) is None
    assert valid_sessions([key]) == set()


def test_logout_new_password_and_missing_backend_end_sessions(settings: Any) -> None:
    user = make_user()
    keys = [log_in(user) for _ in range(2)]
    assert valid_sessions(keys) == set(keys)
    Session.objects.filter(session_key=keys[0]).delete()
    assert valid_sessions(keys) == {keys[1]}
    user.set_password("another")
    user.save()
    assert valid_sessions(keys) == set()
    key = log_in(user)
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.RemoteUserBackend"]
    assert by_session(key) is None


def test_a_project_without_sessions_is_not_asked_for_them(settings: Any) -> None:
    settings.SESSION_ENGINE = "no.such.engine"
    assert valid_sessions([]) == set()
    assert confirm([]) == []


def test_a_deactivated_user_has_no_session() -> None:
    user = make_user()
    key = log_in(user)
    get_user_model().objects.update(is_active=False)
    assert by_session(key) is None
    assert valid_sessions([key]) == set()


def test_sessions_in_the_cache_are_found(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    user = make_user()
    store = CacheSession()
    store.update(
        {
            "_auth_user_id": str(user.pk),
            "_auth_user_backend": settings.AUTHENTICATION_BACKENDS[0],
            "_auth_user_hash": user.get_session_auth_hash(),
        }
    )
    store.save()
    assert store.session_key
    assert by_session(store.session_key) is not None
    assert by_session("\x7f bad key for a cache") is None


# Several callers


def test_each_caller_gets_its_own_result_with_two_queries() -> None:
    users = [make_user(f"user {number}") for number in range(12)]
    callers = [Credentials(log_in(user), "") for user in users[:5]]
    callers += [Credentials("", make_token(user)) for user in users[5:10]]
    callers += [Credentials("", ""), Credentials("", "x"), Credentials(callers[0][0], "x")]
    found: list[Any] = []
    assert len(queries(lambda: found.extend(identify(callers)))) == 2
    assert [entry.user for entry in found[:10]] == users[:10]
    assert [type(entry) for entry in found[10:]] == [Anonymous, InvalidToken, InvalidToken]
    assert all(isinstance(entry, Identity) for entry in found[:10])


def test_credentials_change_only_with_the_password() -> None:
    user = make_user()
    before = credentials_of(user)
    user.first_name = "Another"
    user.save()
    assert credentials_of(user) == before
    user.set_password("another")
    assert credentials_of(user) != before

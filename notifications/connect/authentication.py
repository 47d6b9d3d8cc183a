"""Authenticates clients by session or token, when they connect and again later."""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from importlib import import_module
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.core.exceptions import ValidationError
from django.db import DataError
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from ..models import validate_text
from .tokens import (
    CLAIM_ERRORS,
    Claims,
    ExpiredToken,
    InvalidToken,
    are_current,
    credentials_of,
    make_token,
    read_plain_token,
    read_token,
)

__all__ = [
    "Anonymous",
    "Claimed",
    "Credentials",
    "ExpiredToken",
    "Identity",
    "InvalidToken",
    "Revoked",
    "active_users",
    "claimed",
    "confirm",
    "credentials_of",
    "identify",
    "make_token",
    "session_contents",
    "session_digest",
    "valid_sessions",
]

#: Largest integer that a database column holds (64 bits).
MAX_KEY = 2**63 - 1

#: Valid session keys. Any other key has no session, and some session stores reject it.
PLAIN_KEY = re.compile(r"[!-~]{8,4096}\Z")


class Identity(NamedTuple):
    """An authenticated user, and what the authentication depends on.

    ``credentials`` changes with the password. ``session`` is the digest of a session key, "" for
    a token. ``expires`` is a Unix time, None for never.
    """

    user: Any
    credentials: str
    session: str = ""
    expires: float | None = None


class Claimed(NamedTuple):
    """A genuine token, whose user has yet to be read. ``user_id`` is that user's primary key."""

    user_id: Any
    claims: Claims


class Anonymous(Exception):
    """The caller has no token, and no user is logged in under its session key."""


class Revoked(Exception):
    """The caller was authenticated, but its user, password or session is no longer valid."""


def session_digest(key: str) -> str:
    """Return a digest that replaces a session key elsewhere: the key itself is a credential."""
    return blake2b(key.encode(), digest_size=16).hexdigest()


class Credentials(NamedTuple):
    """What a client presents, "" for what it lacks. A token takes precedence over a session."""

    session_key: str
    token: str


def identify(callers: Sequence[Credentials]) -> list[Identity | Exception]:
    """Authenticate callers together, in order.

    All users are read with one query, and sessions as in :func:`valid_sessions`. For the format of
    tokens see :mod:`notifications.connect.tokens`.

    Returns:
        For each caller an :class:`Identity`, or an instance of :class:`ExpiredToken`,
        :class:`InvalidToken` or :class:`Anonymous`.
    """
    claims = [read_token(caller.token) if caller.token else None for caller in callers]
    keys = {
        caller.session_key
        for caller in callers
        if not caller.token and PLAIN_KEY.match(caller.session_key)
    }
    sessions = _load_sessions(list(keys)) if keys else {}
    users = _users(
        [
            *(claim.user_id for claim in claims if isinstance(claim, Claims)),
            *(str(data.get(SESSION_KEY)) for data in sessions.values()),
        ]
    )
    return [
        _by_session(caller.session_key, sessions, users)
        if claim is None
        else _by_claims(claim, users.get(claim.user_id))
        if isinstance(claim, Claims)
        else claim
        for caller, claim in zip(callers, claims, strict=True)
    ]


def claimed(token: str) -> Claimed | None:
    """Read a token without the database; None for one that only :func:`identify` can judge."""
    claims = read_plain_token(token)
    key = None if claims is None else parse_key(claims.user_id)
    return None if claims is None or key is None else Claimed(key, claims)


def _by_claims(claims: Claims, user: Any) -> Identity | Exception:
    if user is None or not user.is_active:
        return InvalidToken()
    present = credentials_of(user)
    if claims.credentials and not are_current(claims.credentials, user, present):
        return ExpiredToken()  # made before the password was changed
    return Identity(user, present, "", claims.expires)


def _by_session(
    key: str, sessions: dict[str, dict[str, Any]], users: dict[str, Any]
) -> Identity | Exception:
    data = sessions.get(key)
    user = users.get(str(data.get(SESSION_KEY))) if data else None
    if data is None or user is None or not _session_is_valid(data, user):
        return Anonymous()
    return Identity(user, credentials_of(user), session_digest(key))


def active_users(user_ids: Iterable[Any]) -> dict[Any, Any]:
    """Return those of these users who exist and are active, by primary key."""
    users = get_user_model()._default_manager.in_bulk(list(user_ids))
    return {pk: user for pk, user in users.items() if user.is_active}


def confirm(found: Sequence[tuple[Identity | Claimed, str]]) -> list[Identity | Exception]:
    """Read users who have been authenticated again, and those of genuine tokens.

    All users are read with one query, and sessions as in :func:`valid_sessions`.

    Args:
        found: whose identity it is, each with its session key, "" for a token.

    Returns:
        For each identity the same with its user as read now, or :class:`Revoked` if the user is
        deleted or inactive, has another password, or is logged out of the session. For each
        token what :func:`identify` returns.
    """
    users = _find(list({key_of(entry) for entry, _ in found}))
    present = _existing_sessions(
        [key for entry, key in found if isinstance(entry, Identity) and entry.session]
    )
    return [
        _by_claims(entry.claims, users.get(entry.user_id))
        if isinstance(entry, Claimed)
        else _again(entry, users.get(entry.user.pk), key in present)
        for entry, key in found
    ]


def key_of(entry: Identity | Claimed) -> Any:
    """Return the primary key of the user."""
    return entry.user_id if isinstance(entry, Claimed) else entry.user.pk


def _again(identity: Identity, user: Any, has_session: bool) -> Identity | Exception:
    """Check an identity with its user as read now, None for one who is deleted."""
    if user is None or not user.is_active or credentials_of(user) != identity.credentials:
        return Revoked()
    return identity._replace(user=user) if has_session or not identity.session else Revoked()


def valid_sessions(keys: Iterable[str]) -> set[str]:
    """Return those of these session keys under which an active user is still logged in.

    Database session engines need one query per 500 keys, others one look-up per key.
    """
    found = _load_sessions([key for key in keys if PLAIN_KEY.match(key)])
    users = _users(str(data.get(SESSION_KEY)) for data in found.values())
    return {
        key
        for key, data in found.items()
        if (user := users.get(str(data.get(SESSION_KEY)))) and _session_is_valid(data, user)
    }


def session_contents(keys: Iterable[str]) -> dict[str, str]:
    """Return what is stored under those of these session keys that have not expired.

    It takes one query per 500 keys, and is for comparison only. For session engines that store
    nothing in the database it is empty.
    """
    wanted = list(keys)
    if not wanted or not hasattr(store := _store(), "get_model_class"):
        return {}
    found: dict[str, str] = {}
    for start in range(0, len(wanted), 500):
        rows = store.get_model_class()._default_manager.filter(
            session_key__in=wanted[start : start + 500], expire_date__gt=timezone.now()
        )
        found.update(rows.values_list("session_key", "session_data"))
    return found


def _store() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore


def _load_sessions(keys: list[str]) -> dict[str, dict[str, Any]]:
    if not keys:  # a project without sessions has no table for them, and no model
        return {}
    store = _store()
    if not hasattr(store, "get_model_class"):
        return {key: store(key).load() for key in keys}
    model = store.get_model_class()
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(keys), 500):
        rows = model._default_manager.filter(
            session_key__in=keys[start : start + 500], expire_date__gt=timezone.now()
        )
        found |= {row.session_key: row.get_decoded() for row in rows}
    return found


def _existing_sessions(keys: list[str]) -> set[str]:
    """Return those of these session keys that have a session, of whichever user."""
    if not keys:
        return set()
    store = _store()
    if not hasattr(store, "get_model_class"):
        return {key for key in keys if store(key).load()}
    found: set[str] = set()
    for start in range(0, len(keys), 500):
        rows = store.get_model_class()._default_manager.filter(
            session_key__in=keys[start : start + 500], expire_date__gt=timezone.now()
        )
        found |= set(rows.values_list("session_key", flat=True))
    return found


def _users(ids: Iterable[Any]) -> dict[str, Any]:
    """Return users by the text of their primary key; ids that cannot be keys are ignored."""
    keys = {key for value in ids if (key := parse_key(value)) is not None}
    return {str(pk): user for pk, user in _find(list(keys)).items()}


def parse_key(value: Any) -> Any:
    """Convert the text of a primary key; return None if it cannot be one of the user model."""
    if not isinstance(value, str):
        return None
    try:
        validate_text(value)
        key = get_user_model()._meta.pk.to_python(value)
    except (ValidationError, *CLAIM_ERRORS):
        return None
    is_too_big = isinstance(key, int) and not -MAX_KEY <= key <= MAX_KEY
    return None if is_too_big or str(key) != value else key


def _find(keys: Sequence[Any]) -> dict[Any, Any]:
    """Return users by primary key. A key that the database rejects does not affect the others."""
    try:
        return get_user_model()._default_manager.in_bulk(keys)
    except (DataError, *CLAIM_ERRORS):
        if len(keys) == 1:
            return {}
    return {pk: user for key in keys for pk, user in _find([key]).items()}


def _session_is_valid(data: dict[str, Any], user: Any) -> bool:
    """Check backend, user and password hash like :func:`django.contrib.auth.get_user`."""
    if data.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    if not user.is_active:
        return False
    if not hasattr(user, "get_session_auth_hash"):
        return True
    known = data.get(HASH_SESSION_KEY, "")
    if not known:
        return False
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(known, value) for value in hashes)

"""Authenticates clients by session or token, when they connect and again later."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import SESSION_KEY, get_user_model
from django.core.exceptions import ValidationError
from django.db import DataError

from ..models import validate_text
from .sessions import (
    PLAIN_KEY,
    existing_sessions,
    load_sessions,
    session_digest,
    session_is_valid,
)
from .tokens import (
    CLAIM_ERRORS,
    Claims,
    ExpiredToken,
    InvalidToken,
    are_current,
    credentials_of,
    make_token,
    read_token,
)
from .users import read_users

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
    "valid_sessions",
]

#: Largest integer that a database column holds (64 bits).
MAX_KEY = 2**63 - 1


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
    sessions = load_sessions(list(keys)) if keys else {}
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
    """Read a token without the database; None for one that :func:`identify` refuses.

    It takes 40 µs, also for what a stranger has made up, so an event loop may call it.
    """
    claims = read_token(token)
    if not isinstance(claims, Claims):
        return None
    key = parse_key(claims.user_id)
    return None if key is None else Claimed(key, claims)


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
    if data is None or user is None or not session_is_valid(data, user):
        return Anonymous()
    return Identity(user, credentials_of(user), session_digest(key))


def active_users(user_ids: Iterable[Any]) -> dict[Any, Any]:
    """Return those of these users who exist and are active, by primary key."""
    users = read_users(list(user_ids))
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
    present = existing_sessions(
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
    found = load_sessions([key for key in keys if PLAIN_KEY.match(key)])
    users = _users(str(data.get(SESSION_KEY)) for data in found.values())
    return {
        key
        for key, data in found.items()
        if (user := users.get(str(data.get(SESSION_KEY)))) and session_is_valid(data, user)
    }


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
        return read_users(keys)
    except (DataError, *CLAIM_ERRORS):
        if len(keys) == 1:
            return {}
    return {pk: user for key in keys for pk, user in _find([key]).items()}

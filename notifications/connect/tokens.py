"""Connection tokens: JWTs (RFC 7519) that are signed with HS256 and ``TOKEN_SECRET``.

===============  ================================================================================
claim            meaning
===============  ================================================================================
``sub``          the user's primary key as text; required
``exp``          when the connection ends; without it never
``aud``          required and compared where ``TOKEN_AUDIENCE`` is set; refused where it is not
``credentials``  :func:`credentials_of` the user when the token was made: after a change of the
                 password it is out of date. A backend that cannot know it leaves it out, and its
                 tokens are good until ``exp``.
===============  ================================================================================
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

import jwt
from django.utils import timezone

from ..conf import app_settings

ALGORITHM = "HS256"

#: What :func:`credentials_of` gives.
DIGEST = re.compile(r"[0-9a-f]{16}\Z")

#: What the values of a genuine token may raise: it holds any JSON, numbers without end too.
UNREADABLE = (TypeError, ValueError, OverflowError, RecursionError)

#: An expiry beyond this (in the year 5138) is none; Unix time.
FOR_EVER = 1e11


class InvalidToken(Exception):
    """Forged, malformed, or for a user who is not there: no use in trying again."""


class ExpiredToken(Exception):
    """Genuine, but out of date: the client should get a new one."""


class Claims(NamedTuple):
    """What a genuine token says. ``credentials`` is "" where it says nothing of the password."""

    user_id: str
    expires: float | None
    credentials: str


def make_token(user: Any, lifetime: float | None = 3600.0) -> str:
    """A connection token for a native client or another origin.

    It ends with the user's present password, whatever its lifetime.

    Args:
        user: a saved user.
        lifetime: seconds until it expires; None for never.

    Raises:
        ValueError: no ``TOKEN_SECRET`` is configured.
    """
    if not app_settings.TOKEN_SECRET:
        raise ValueError("NOTIFICATIONS['TOKEN_SECRET'] is not set")
    claims: dict[str, Any] = {"sub": str(user.pk)}
    if lifetime is not None:
        claims["exp"] = int(timezone.now().timestamp() + lifetime)
    if app_settings.TOKEN_AUDIENCE:
        claims["aud"] = app_settings.TOKEN_AUDIENCE
    if credentials := credentials_of(user):
        claims["credentials"] = credentials
    return jwt.encode(claims, app_settings.TOKEN_SECRET, algorithm=ALGORITHM)


def read_token(token: str) -> Claims | InvalidToken | ExpiredToken:
    """The claims of a token, or what is wrong with it; the user is not looked up."""
    if not app_settings.TOKEN_SECRET:
        return InvalidToken()
    try:
        claims = jwt.decode(
            token,
            app_settings.TOKEN_SECRET,
            algorithms=[ALGORITHM],
            audience=app_settings.TOKEN_AUDIENCE or None,
            options={"require": ["sub"]},
        )
        expires = claims.get("exp")
        return Claims(
            _text(claims["sub"]),
            None if expires is None else min(float(expires), FOR_EVER),
            _digest(claims.get("credentials", "")),
        )
    except jwt.ExpiredSignatureError:
        return ExpiredToken()
    except (jwt.InvalidTokenError, *UNREADABLE):
        return InvalidToken()


def credentials_of(user: Any) -> str:
    """What stands for the user's password hash: another one, and its connections have to end.

    "" where the user model has no password, as :func:`django.contrib.auth.get_user` sees it.
    """
    if not hasattr(user, "get_session_auth_hash"):
        return ""
    return _shorten(user.get_session_auth_hash())


def are_current(known: str, user: Any, present: str) -> bool:
    """Are these the credentials of the user as he is now?

    Args:
        known: what :func:`credentials_of` gave once, under this ``SECRET_KEY`` or one of its
            fallbacks.
        user: as the database has him.
        present: :func:`credentials_of` him.
    """
    # Plainly, because both are signed or our own: nobody can try others.
    return not present or known == present or known in _former_credentials(user)


def _former_credentials(user: Any) -> Iterator[str]:
    """What :func:`credentials_of` would be under each of ``SECRET_KEY_FALLBACKS``."""
    if hasattr(user, "get_session_auth_fallback_hash"):
        yield from map(_shorten, user.get_session_auth_fallback_hash())


def _shorten(value: str) -> str:
    return blake2b(value.encode(), digest_size=8).hexdigest()


def _text(claim: Any) -> str:
    if not isinstance(claim, str):
        raise TypeError("sub is not text")
    return claim


def _digest(claim: Any) -> str:
    if claim != "" and not DIGEST.match(_text(claim)):
        raise ValueError("credentials are no digest")
    return str(claim)

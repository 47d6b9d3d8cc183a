"""Connection and subscription tokens: JWTs (RFC 7519), signed with HS256 and ``TOKEN_SECRET``.

===============  ================================================================================
claim            meaning
===============  ================================================================================
``sub``          the user's primary key as text; required
``exp``          when the token expires and its connection ends; never if absent
``aud``          must match ``TOKEN_AUDIENCE`` if that is set; must be absent if not
``credentials``  :func:`credentials_of` the user at the time the token was made. The token is out
                 of date after a change of the password. A backend that cannot compute it leaves
                 it out; its tokens are valid until ``exp``.
``channel``      makes it a subscription token, which grants this channel of a namespace to the user
                 and nothing else; required there, and refused in a connection token
``info``         in a subscription token: JSON of 1024 bytes at most, that others in the channel get
                 as ``chan_info`` of this client
===============  ================================================================================

Source of ``channel`` and ``info``: https://centrifugal.dev/docs/server/channel_token_auth.
"""

import re
import time
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import jwt
import msgspec
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from ..conf import app_settings
from ..namespaces import find_namespace

ALGORITHM = "HS256"

#: Format of what :func:`credentials_of` returns.
DIGEST = re.compile(r"[0-9a-f]{16}\Z")

#: Errors that the claims of a genuine token may cause: they can be any JSON, even huge numbers.
CLAIM_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)

#: Unix time (in the year 5138) to which a later expiry is reduced.
MAX_EXPIRY = 1e11

#: How many genuine tokens are remembered, and the characters of the longest of them.
REMEMBERED, LONGEST_REMEMBERED = 10_000, 1024

#: Bytes of the claim ``info`` as JSON. All clients in a channel may get it of all others.
MAX_INFO = 1024


class InvalidToken(Exception):
    """The token is forged or malformed, or its user cannot log in: a retry is useless."""


class ExpiredToken(Exception):
    """The token is genuine but out of date: the client should get a new one."""


class Claims(NamedTuple):
    """The claims of a genuine token.

    ``expires`` is a Unix time, None for never. ``credentials`` is "" if the claim is absent.
    """

    user_id: str
    expires: float | None
    credentials: str


class SubscriptionClaims(NamedTuple):
    """The claims of a genuine subscription token.

    ``expires`` is a Unix time, None for never. ``info`` is JSON, b"" for none.
    """

    user_id: str
    channel: str
    expires: float | None
    info: bytes


def make_token(user: AbstractBaseUser, lifetime: float | None = 3600.0) -> str:
    """Make a connection token, for a native client or a page of another origin.

    A change of the user's password makes it invalid, whatever its lifetime.

    Args:
        user: a saved user.
        lifetime: seconds until the token expires; None for never.

    Raises:
        ValueError: no ``TOKEN_SECRET`` is configured.
    """
    credentials = credentials_of(user)
    return _sign(user, lifetime, {"credentials": credentials} if credentials else {})


def make_subscription_token(
    user: AbstractBaseUser, channel: str, lifetime: float | None = 3600.0, *, info: Any = None
) -> str:
    """Make a token with which a user may subscribe to one channel of a namespace.

    Check before whether the user may: a valid token is not questioned until it expires.

    Args:
        user: a saved user.
        channel: name of the channel.
        lifetime: seconds until the token expires; None for never.
        info: JSON of 1024 bytes at most, that others in the channel get as ``chan_info`` of this
            client; None for none.

    Raises:
        ValueError: no ``TOKEN_SECRET`` is configured, or ``info`` is too long.
        TypeError: ``info`` cannot be JSON.
        UnknownChannel: the channel belongs to no namespace of ``NAMESPACES``.
    """
    find_namespace(channel)
    _encode_info(info)
    claims = {"channel": channel, "info": info}
    return _sign(
        user, lifetime, {name: claim for name, claim in claims.items() if claim is not None}
    )


def _sign(user: AbstractBaseUser, lifetime: float | None, more: dict[str, Any]) -> str:
    if not app_settings.TOKEN_SECRET:
        raise ValueError("NOTIFICATIONS['TOKEN_SECRET'] is not set")
    claims: dict[str, Any] = {"sub": str(user.pk), **more}
    if lifetime is not None:
        claims["exp"] = int(timezone.now().timestamp() + lifetime)
    if app_settings.TOKEN_AUDIENCE:
        claims["aud"] = app_settings.TOKEN_AUDIENCE
    return jwt.encode(claims, app_settings.TOKEN_SECRET, algorithm=ALGORITHM)


def read_token(token: str) -> Claims | InvalidToken | ExpiredToken:
    """Return the claims of a token, or the error to report; the user is not looked up.

    A client that comes back presents the token that it had, so genuine ones are remembered.
    (Measured: reading a token takes a tenth of the event loop's time for a connect.)
    """
    read = _remembered_claims if len(token) <= LONGEST_REMEMBERED else _read_claims
    key, audience = app_settings.TOKEN_SECRET, app_settings.TOKEN_AUDIENCE
    try:
        claims = read(token, key, audience)
        if claims.expires is not None and int(claims.expires) <= time.time():
            return _read_claims(token, key, audience)  # the library says what is wrong with it
    except jwt.ExpiredSignatureError:
        return ExpiredToken()
    except (jwt.InvalidTokenError, *CLAIM_ERRORS):
        return InvalidToken()
    return claims


def _read_claims(token: str, secret: str, audience: str) -> Claims:
    """Read a connection token; see :func:`_verified` for the errors."""
    claims = _verified(token, secret, audience)
    if "channel" in claims:  # a subscription token, which is good for one channel only
        raise jwt.InvalidTokenError
    credentials = _digest(claims.get("credentials", ""))
    return Claims(_text(claims["sub"]), _expiry(claims), credentials)


# It does not keep errors, so what strangers make up supersedes nothing.
_remembered_claims = lru_cache(maxsize=REMEMBERED)(_read_claims)


def read_subscription_token(token: str) -> SubscriptionClaims | InvalidToken | ExpiredToken:
    """Return the claims of a subscription token, or the error to report."""
    try:
        claims = _verified(token, app_settings.TOKEN_SECRET, app_settings.TOKEN_AUDIENCE)
        info = _encode_info(claims["info"]) if "info" in claims else b""
        user_id, channel = _text(claims["sub"]), _text(claims["channel"])
        return SubscriptionClaims(user_id, channel, _expiry(claims), info)
    except jwt.ExpiredSignatureError:
        return ExpiredToken()
    except (jwt.InvalidTokenError, KeyError, *CLAIM_ERRORS):
        return InvalidToken()


def _encode_info(info: Any) -> bytes:
    encoded = msgspec.json.encode(info)
    if len(encoded) > MAX_INFO:
        raise ValueError(f"info takes more than {MAX_INFO} bytes")
    return encoded


def _verified(token: str, secret: str, audience: str) -> dict[str, Any]:
    """Return the claims of a genuine token.

    Args:
        token: the token.
        secret: ``TOKEN_SECRET``.
        audience: ``TOKEN_AUDIENCE``.

    Raises:
        InvalidTokenError: it is forged, malformed, expired or for another audience.
        Exception: one of ``CLAIM_ERRORS``.
    """
    if not secret:
        raise jwt.InvalidTokenError
    claims: dict[str, Any] = jwt.decode(
        token,
        secret,
        algorithms=[ALGORITHM],
        audience=audience or None,
        options={"require": ["sub"]},
    )
    return claims


def _expiry(claims: dict[str, Any]) -> float | None:
    expires = claims.get("exp")
    return None if expires is None else min(float(expires), MAX_EXPIRY)


def credentials_of(user: Any) -> str:
    """Return a digest of the user's password hash; when it changes, connections must end.

    It is "" if the user model has no ``get_session_auth_hash``, the test that
    :func:`django.contrib.auth.get_user` uses as well.
    """
    if not hasattr(user, "get_session_auth_hash"):
        return ""
    return _shorten(user.get_session_auth_hash())


def are_current(known: str, user: Any, present: str) -> bool:
    """Return whether ``known`` are still the credentials of the user.

    Args:
        known: an earlier result of :func:`credentials_of`, under this ``SECRET_KEY`` or one of
            its fallbacks.
        user: the user as read from the database.
        present: the present :func:`credentials_of` the user.
    """
    # A constant-time comparison is not needed: ``known`` is signed, so it cannot be guessed.
    return not present or known == present or known in _former_credentials(user)


def _former_credentials(user: Any) -> Iterator[str]:
    """Yield the credentials of the user under each of ``SECRET_KEY_FALLBACKS``."""
    if hasattr(user, "get_session_auth_fallback_hash"):
        yield from map(_shorten, user.get_session_auth_fallback_hash())


def _shorten(value: str) -> str:
    return blake2b(value.encode(), digest_size=8).hexdigest()


def _text(claim: Any) -> str:
    if not isinstance(claim, str):
        raise TypeError("sub is not a string")
    return claim


def _digest(claim: Any) -> str:
    if claim != "" and not DIGEST.match(_text(claim)):
        raise ValueError("credentials are not a digest")
    return str(claim)

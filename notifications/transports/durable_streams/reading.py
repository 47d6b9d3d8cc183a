"""Who reads, what they may read, and one page of it; expected failures become HTTP errors."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.db import Error as DatabaseError

from ...connect import authentication
from ...connect.authentication import Identity
from ...connect.channels import NEW_CHANNEL_WORK, claims_of, read_channel
from ...connect.reading import Found, Unprepared, Wanted
from ...connect.tokens import SubscriptionClaims
from ...host.questions import Undecided
from ...hub import Hub
from ...namespaces import namespace_of
from ...protocol import codes
from ...streams.history import Page
from ...streams.names import UnknownStream, parse
from ...streams.positions import Position
from .exchange import Exchange, Refused

#: The header of a request that brings a token for the channel, besides the login.
SUBSCRIPTION_TOKEN = b"subscription-token"

#: CPU seconds that a page is charged to its user's budget.
PAGE_WORK = 0.005

SOON = {"retry-after": "1"}
LOG_IN = {"www-authenticate": "Bearer"}
NEW_TOKEN = {"www-authenticate": 'Bearer error="invalid_token"'}

BUSY = (503, codes.INTERNAL, "Try again soon.", SOON)
TOO_MANY = (429, codes.TOO_MANY_REQUESTS, "Send fewer requests at a time.", SOON)
STOPPING = (503, codes.INTERNAL, "This server is stopping. Try again.", SOON)
FORBIDDEN = (
    403,
    codes.PERMISSION_DENIED,
    "You may not read this stream, or do not follow this topic.",
)
#: What is not stored has no offsets.
EPHEMERAL = (404, codes.NOT_AVAILABLE, "The channels of this namespace are not stored.")
GONE = (
    410,
    codes.UNRECOVERABLE_POSITION,
    "What follows this offset is incomplete. Begin again with offset=-1.",
)

#: Answers to errors of commands; others are 403.
BY_CODE: dict[codes.Error, tuple[int, codes.Error, str, dict[str, str]]] = {
    codes.TOO_MANY_REQUESTS: TOO_MANY,
    codes.INTERNAL: BUSY,
    codes.PERMISSION_DENIED: (*FORBIDDEN, {}),
}

#: Status, error, message and headers by the type of the exception.
ANSWERS: dict[type[Exception], tuple[int, codes.Error, str, dict[str, str]]] = {
    authentication.Anonymous: (
        401,
        codes.UNAUTHORIZED,
        "Log in, or send a bearer token.",
        LOG_IN,
    ),
    authentication.Revoked: (
        401,
        codes.UNAUTHORIZED,
        "The login is no longer valid.",
        LOG_IN,
    ),
    authentication.ExpiredToken: (401, codes.TOKEN_EXPIRED, "Get a new token.", NEW_TOKEN),
    authentication.InvalidToken: (401, codes.UNAUTHORIZED, "The token is not valid.", NEW_TOKEN),
    UnknownStream: (404, codes.UNKNOWN_CHANNEL, "No stream has this name.", {}),
    Unprepared: BUSY,
    Undecided: BUSY,
    DatabaseError: BUSY,
}


class Reading(NamedTuple):
    """A reader of one stream, who was authenticated.

    ``claims`` are those of the subscription token; None without one, and for built-in streams.
    """

    hub: Hub
    identity: Identity
    session_key: str
    name: str
    is_channel: bool
    claims: SubscriptionClaims | None

    def valid_for(self) -> float:
        """Seconds until the first of the tokens expires; infinite if none does."""
        expiries = [self.identity.expires, None if self.claims is None else self.claims.expires]
        left = [moment - time.time() for moment in expiries if moment is not None]
        return max(0.0, min(left, default=math.inf))

    async def page(self, position: Position) -> tuple[Found, Page]:
        """Read what follows this position. Rights are checked again.

        Raises:
            Refused: the position cannot be resumed.
            Exception: one that :func:`errors_told` knows.
        """
        wanted = Wanted(self.identity, self.session_key, self.name, position)
        read = self._read_channel if self.is_channel else self._read_stream
        try:
            found = await read(wanted)
        except Unprepared as error:
            if not await self.hub.beginnings.make(error.missing):
                raise
            found = await read(wanted)
        if found.page is None:
            raise Refused(*GONE)
        return found, found.page

    async def _read_stream(self, wanted: Wanted) -> Found:
        self.hub.turns.charge(self.identity.user.pk, PAGE_WORK)
        return await self.hub.read_pages(wanted)

    async def _read_channel(self, wanted: Wanted) -> Found:
        """Read in the turn of the user, because the right may be up to a function of the host."""
        turns, user_id = self.hub.turns, self.identity.user.pk
        by_token = self.claims is not None
        found, is_new = await turns.run(user_id, read_channel, wanted, by_token=by_token)
        if is_new:
            turns.charge(user_id, NEW_CHANNEL_WORK)
        return found


async def begin(hub: Hub, exchange: Exchange, name: str) -> Reading:
    """Authenticate a reader, and count the request against the limits of its user.

    Raises:
        Refused: the name is that of a channel that is not stored.
        Exception: one that :func:`errors_told` knows.
    """
    credentials = exchange.credentials()
    identity, _ = await hub.admit_callers(credentials)
    hub.turns.count_request(identity.user.pk)
    namespace = namespace_of(name)
    if namespace is None:
        parse(name)
    elif not namespace.durable:
        raise Refused(*EPHEMERAL)
    token = exchange.header(SUBSCRIPTION_TOKEN) if namespace else ""
    return Reading(
        hub,
        identity,
        credentials.session_key if identity.session else "",
        name,
        namespace is not None,
        claims_of(token, identity.user.pk, name) if token else None,
    )


@contextmanager
def errors_told(hub: Hub) -> Iterator[None]:
    """Turn expected errors into :class:`.exchange.Refused`."""
    try:
        yield
    except codes.ClientError as error:
        refusal = BY_CODE.get(error.error) or (403, error.error, error.error.message, {})
        raise Refused(*refusal) from None
    except codes.Disconnected as error:
        is_stopping = error.disconnect == codes.SHUTDOWN
        raise Refused(*(STOPPING if is_stopping else TOO_MANY)) from None
    except tuple(ANSWERS) as error:
        if isinstance(error, DatabaseError):
            hub.loops.database_failed(error)
        answers = [answer for kind, answer in ANSWERS.items() if isinstance(error, kind)]
        raise Refused(*answers[0]) from None

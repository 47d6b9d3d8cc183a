"""Who reads, what they may read, and one page of it; expected failures become HTTP errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.db import Error as DatabaseError

from ...connect import authentication
from ...connect.authentication import Identity
from ...connect.reading import Found, Unprepared, Wanted
from ...host.questions import Undecided
from ...hub import Hub
from ...protocol import codes
from ...streams.history import Page
from ...streams.names import UnknownStream, parse
from ...streams.positions import Position
from .exchange import Exchange, Refused

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
GONE = (
    410,
    codes.UNRECOVERABLE_POSITION,
    "What follows this offset is incomplete. Begin again with offset=-1.",
)

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
    """A reader of one stream, who was authenticated."""

    hub: Hub
    identity: Identity
    session_key: str
    name: str

    async def page(self, position: Position) -> tuple[Found, Page]:
        """Read what follows this position. Rights are checked again.

        Raises:
            Refused: the position cannot be resumed.
            Exception: one that :func:`errors_told` knows.
        """
        self.hub.turns.charge(self.identity.user.pk, PAGE_WORK)
        wanted = Wanted(self.identity, self.session_key, self.name, position)
        try:
            found = await self.hub.read_pages(wanted)
        except Unprepared as error:
            if not await self.hub.beginnings.make(error.missing):
                raise
            found = await self.hub.read_pages(wanted)
        if found.page is None:
            raise Refused(*GONE)
        return found, found.page


async def begin(hub: Hub, exchange: Exchange, name: str) -> Reading:
    """Authenticate a reader, and count the request against the limits of its user.

    Raises:
        Exception: one that :func:`errors_told` knows.
    """
    credentials = exchange.credentials()
    parse(name)
    identity, _ = await hub.admit_callers(credentials)
    hub.turns.count_request(identity.user.pk)
    return Reading(hub, identity, credentials.session_key if identity.session else "", name)


@contextmanager
def errors_told(hub: Hub) -> Iterator[None]:
    """Turn expected errors into :class:`.exchange.Refused`."""
    try:
        yield
    except codes.ClientError as error:
        is_too_many = error.error == codes.TOO_MANY_REQUESTS
        raise Refused(*(TOO_MANY if is_too_many else FORBIDDEN)) from None
    except codes.Disconnected as error:
        is_stopping = error.disconnect == codes.SHUTDOWN
        raise Refused(*(STOPPING if is_stopping else TOO_MANY)) from None
    except tuple(ANSWERS) as error:
        if isinstance(error, DatabaseError):
            hub.loops.database_failed(error)
        answers = [answer for kind, answer in ANSWERS.items() if isinstance(error, kind)]
        raise Refused(*answers[0]) from None

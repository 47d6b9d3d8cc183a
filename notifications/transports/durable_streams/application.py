"""Answers the requests for streams: ``GET`` in three modes, ``HEAD``, and preflights."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from ...hub import get_hub
from ...protocol import codes
from ...streams.positions import Position
from .. import cross_origin
from .catch_up import send_end, send_page
from .exchange import Exchange, Query, Refused
from .reading import STOPPING, Reading, begin, errors_told
from .tokens import InvalidOffset, parse_offset
from .waiting import poll, send_events

logger = logging.getLogger(__name__)

#: Seconds in which the end of a response has to leave when a server cancels it.
FAREWELL = 1.0

METHODS = "GET, HEAD, OPTIONS"

#: What a page of another origin may do, for how many seconds a browser may remember it.
PREFLIGHT = {
    "access-control-allow-methods": "GET, HEAD",
    "access-control-allow-headers": "Authorization, If-None-Match, Subscription-Token",
    "access-control-max-age": "600",
}


async def durable_streams(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application for ``streams/<name>``.

    Args:
        scope: of an HTTP request; ``url_route`` has the name.
        receive: awaits the next event of the client.
        send: sends an event to the client.
    """
    exchange = Exchange(scope, receive, send)
    try:
        await _serve(exchange, scope["url_route"]["kwargs"]["name"])
    except Refused as refused:
        await _end(exchange, refused)
    except asyncio.CancelledError:  # by a server that stops
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await _end(exchange, Refused(*STOPPING))
    except Exception:
        logger.exception("Unexpected error in a request for a stream.")
        await _end(exchange, Refused(500, codes.INTERNAL, "Unexpected error."))


async def _end(exchange: Exchange, refused: Refused) -> None:
    """Answer with an error; or end the answer if it has begun, after which the client resumes."""
    if exchange.is_gone:
        return
    if not exchange.is_started:
        await exchange.refuse(refused)
    else:
        await exchange.send({"type": "http.response.body", "body": b""})


async def _serve(exchange: Exchange, name: str) -> None:
    reason = cross_origin.reason_to_refuse(exchange.scope)
    if reason is not None:
        raise Refused(403, codes.PERMISSION_DENIED, "A page of this origin may not read streams.")
    if exchange.method == "OPTIONS":
        await exchange.respond(204, PREFLIGHT | {"allow": METHODS})
        return
    if exchange.method not in ("GET", "HEAD"):
        raise Refused(405, codes.NOT_AVAILABLE, "Streams are read only here.", {"allow": METHODS})
    query = exchange.query()
    position = _position(query)
    hub = await get_hub()
    exchange.must_close = hub.connections.is_draining
    with errors_told(hub):
        await _answer(exchange, await begin(hub, exchange, name), query, position)


async def _answer(exchange: Exchange, reading: Reading, query: Query, position: Position) -> None:
    cursor = query.cursor or ""
    if exchange.method == "HEAD":
        await send_end(exchange, reading)
    elif query.live == "long-poll":
        await poll(exchange, reading, position, cursor)
    elif query.live == "sse":
        await send_events(exchange, reading, position, cursor)
    else:
        await send_page(exchange, reading, position)


def _position(query: Query) -> Position:
    """The position of a request.

    Raises:
        Refused: it is none, or there is none although the client wants to wait.
    """
    if query.live not in (None, "long-poll", "sse"):
        raise Refused(400, codes.BAD_REQUEST, "live must be long-poll or sse.")
    if query.live is not None and query.offset is None:
        raise Refused(400, codes.BAD_REQUEST, "live needs an offset.")
    try:
        return parse_offset("-1" if query.offset is None else query.offset)
    except InvalidOffset:
        raise Refused(400, codes.BAD_REQUEST, "This is no offset of this server.") from None

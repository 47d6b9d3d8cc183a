"""Responses that wait for more: long-polls and server-sent events (5.7 and 5.8)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ...conf import app_settings
from ...connect.reading import Found
from ...hub.sockets.bodies import abort_of
from ...hub.sockets.connection import Reader
from ...streams.history import Page
from ...streams.positions import Position
from .catch_up import page_headers, send_messages
from .codecs import MESSAGES, Controls, Part, event_codec
from .events import data_event
from .exchange import Exchange
from .live import LiveConnection, admitted, attach, joined
from .reading import Reading
from .sockets import EventSocket, PollSocket
from .tokens import current_interval, next_cursor

#: Seconds after which an SSE response ends, from and up to. Clients then resume at once.
LIFETIME = (50.0, 60.0)

NO_STORE = {"cache-control": "private, no-store"}

EVENT_STREAM = {
    "content-type": "text/event-stream",
    "cache-control": "private, no-cache, no-store",
    # nginx would hold events back otherwise.
    "x-accel-buffering": "no",
}


async def poll(exchange: Exchange, reading: Reading, position: Position, cursor: str) -> None:
    """Answer with what follows a position, or with 204 if nothing does for ``PING_INTERVAL``."""
    socket = PollSocket()
    connection = LiveConnection(exchange, socket, MESSAGES)
    hub = reading.hub
    async with (
        admitted(hub, connection, reading.identity),
        joined(hub, connection, reading.name) as stream,
    ):
        found, page = await reading.page(position)
        headers = NO_STORE | {"stream-cursor": str(next_cursor(cursor, time.time()))}
        if page.publications or page.more:
            messages = [publication.data for publication in page.publications]
            await send_messages(exchange, found, page, messages, headers)
            return
        reader = attach(reading, connection, stream, found)
        async with _noticing_the_end(exchange, connection):
            seconds = min(app_settings.PING_INTERVAL, reading.valid_for())
            await _is_set_within(socket.ended, seconds)
        exchange.must_close = hub.connections.is_draining
        if not exchange.is_gone:
            await _answer(exchange, found, _reached(reader, page), socket.taken, headers)


async def _answer(
    exchange: Exchange, found: Found, page: Page, messages: list[bytes], headers: dict[str, str]
) -> None:
    if messages:
        await send_messages(exchange, found, page, messages, headers)
    else:  # it always says that the client is up to date
        await exchange.respond(204, headers | page_headers(found, page._replace(more=False)))


async def send_events(
    exchange: Exchange, reading: Reading, position: Position, cursor: str
) -> None:
    """Answer with events: what follows the position, and then what is published.

    Rights are checked again by the hub, which ends the response when they are gone.
    """
    socket = EventSocket(exchange.send, abort_of(exchange.scope))
    connection = LiveConnection(exchange, socket, MESSAGES)
    hub = reading.hub
    async with (
        admitted(hub, connection, reading.identity),
        joined(hub, connection, reading.name) as stream,
    ):
        found, page = await reading.page(position)
        await exchange.start(200, EVENT_STREAM)
        async with _noticing_the_end(exchange, connection):
            controls = Controls(found.feed.epoch, _lowest_cursor(cursor))
            found, page = await _catch_up(connection, reading, controls, found, page)
            reader = attach(reading, connection, stream, found)
            if reader is not None:
                connection.session.codec = reader.codec = event_codec(reader.stream, controls)
            await _keep_open(socket, reader, page, controls, reading.valid_for())
    if not exchange.is_gone:
        await exchange.send({"type": "http.response.body", "body": b""})


async def _catch_up(
    connection: LiveConnection, reading: Reading, controls: Controls, found: Found, page: Page
) -> tuple[Found, Page]:
    """Send pages, beginning with this one, at the speed of the client; return the last one."""
    while True:
        data = [publication.data for publication in page.publications]
        control = controls.event(page.offset, up_to_date=not page.more)
        await connection.send_part(Part((data_event(data) if data else b"") + control))
        if not page.more or connection.closing is not None or connection.has_ended:
            return found, page
        found, page = await reading.page(Position(found.feed.epoch, page.offset))


async def _keep_open(
    socket: EventSocket, reader: Reader | None, page: Page, controls: Controls, seconds: float
) -> None:
    """Wait for the end, and say where the client is after each ``PING_INTERVAL``.

    This also moves the client over entries that are not sent.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + min(seconds, random.uniform(*LIFETIME))
    while (left := until - loop.time()) > 0:
        if await _is_set_within(socket.ended, min(left, app_settings.PING_INTERVAL)):
            return
        reached = _reached(reader, page)
        socket.offer(Part(controls.event(reached.offset, up_to_date=not reached.more)))


def _reached(reader: Reader | None, page: Page) -> Page:
    """Where a reader is now that has begun after ``page``, and whether more follows."""
    if reader is None:
        return page
    more = not reader.is_live or reader.sent < reader.stream.seen().top
    return Page([], reader.sent, more)


def _lowest_cursor(sent: str) -> int:
    """The cursor of a client that comes back early, which has to be above the present one."""
    now = time.time()
    cursor = next_cursor(sent, now)
    return cursor if cursor > current_interval(now) else 0


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


@asynccontextmanager
async def _noticing_the_end(exchange: Exchange, connection: LiveConnection) -> AsyncIterator[None]:
    """End the connection as soon as the client is gone."""
    watch = asyncio.create_task(exchange.wait_until_gone())
    watch.add_done_callback(lambda _: connection.end() if exchange.is_gone else None)
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

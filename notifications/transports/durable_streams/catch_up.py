"""Responses that do not wait: a page of the past, and the end of a stream (5.5 and 5.6)."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from ...connect.reading import TAIL, Found
from ...streams.history import Page
from ...streams.names import is_private
from ...streams.positions import Position
from .events import json_array
from .exchange import Exchange
from .reading import Reading
from .tokens import offset_token

JSON = {"content-type": "application/json"}

#: A browser may keep pages of shared streams, but has to ask whether it may still show them.
#: No shared cache may keep any: each response depends on who asks.
SHARED = {"cache-control": "private, no-cache"}
PRIVATE = {"cache-control": "private, no-store"}


async def send_page(exchange: Exchange, reading: Reading, position: Position) -> None:
    """Answer with the page after a position, or with 304 if the client has it already."""
    found, page = await reading.page(position)
    if position == TAIL:
        headers = JSON | page_headers(found, page) | {"cache-control": "no-store"}
        await exchange.respond(200, headers, b"[]")
        return
    kept = PRIVATE if is_private(found.feed.name) else SHARED
    messages = [publication.data for publication in page.publications]
    await send_messages(exchange, found, page, messages, kept)


async def send_messages(
    exchange: Exchange,
    found: Found,
    page: Page,
    messages: Iterable[bytes],
    headers: Mapping[str, str],
) -> None:
    """Answer with the messages up to the end of a page; with 304 if the client has them already.

    Args:
        exchange: the request.
        found: where the page begins.
        page: where it ends, and whether more follows.
        messages: each as JSON.
        headers: besides those that tell where the client is.
    """
    body = json_array(messages)
    headers = {**headers, **page_headers(found, page), "etag": _etag(found, page, body)}
    if _matches(exchange.header(b"if-none-match"), headers["etag"]):
        await exchange.respond(304, headers)
    else:
        await exchange.respond(200, JSON | headers, body)


async def send_end(exchange: Exchange, reading: Reading) -> None:
    """Answer a ``HEAD`` request with the offset of the end.

    A ``Content-Length`` would have to be that of the page, which nobody has read.
    """
    found, page = await reading.page(TAIL)
    headers = {"stream-next-offset": offset_token(found.feed.epoch, page.offset)}
    await exchange.start(200, JSON | headers | {"cache-control": "no-store"})
    await exchange.send({"type": "http.response.body", "body": b""})


def page_headers(found: Found, page: Page) -> dict[str, str]:
    """The headers that tell where the client is after a page."""
    headers = {"stream-next-offset": offset_token(found.feed.epoch, page.offset)}
    if not page.more:
        headers["stream-up-to-date"] = "true"
    return headers


def _etag(found: Found, page: Page, body: bytes) -> str:
    """The place of a page and its content, which changes when something in it is withdrawn."""
    digest = blake2b(body, digest_size=8).hexdigest()
    more = "+" if page.more else ""
    return f'"{found.feed.epoch}:{found.start}:{page.offset}{more}:{digest}"'


def _matches(header: str, etag: str) -> bool:
    """Compare an ``If-None-Match`` header weakly (RFC 9110 section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or tags == ["*"]

"""Which pages may open a socket."""

import asyncio
from typing import Any

import pytest

from notifications.origin import AllowedOriginValidator


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})


async def is_allowed(*origins: bytes) -> bool:
    """What becomes of a handshake with these ``Origin`` headers."""
    sent: list[dict[str, Any]] = []
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "websocket.connect"})
    incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {"type": "websocket", "path": "/", "headers": [(b"origin", o) for o in origins]}
    await asyncio.wait_for(AllowedOriginValidator(application)(scope, incoming.get, send), 5)
    assert sent[0]["type"] in {"websocket.accept", "websocket.close"}
    return bool(sent[0]["type"] == "websocket.accept")


@pytest.fixture(autouse=True)
def hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["site.example", ".wide.example", "[::1]"]
    settings.NOTIFICATIONS = {"ALLOWED_ORIGINS": ["https://app.example", "http://dev.example:3000"]}


@pytest.mark.parametrize(
    "origin",
    [
        b"https://site.example",
        b"http://site.example:8000",
        b"https://SITE.example",
        b"https://deep.wide.example",
        b"https://wide.example",
        b"http://[::1]:8000",
        b"https://app.example",
        b"https://app.example:443",
        b"http://dev.example:3000",
    ],
)
async def test_pages_of_the_site_may(origin: bytes) -> None:
    assert await is_allowed(origin)


async def test_native_clients_send_no_origin() -> None:
    assert await is_allowed()


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example",
        b"https://site.example.evil.example",
        b"https://evilsite.example",
        b"https://sub.site.example",
        b"http://app.example",
        b"https://app.example:8443",
        b"http://dev.example",
        b"null",
        b"",
        b"file://",
        b"site.example",
        b"https://",
        b"http://[",
        b"https://app.example:99999",
        b"https://app.example:port",
        b"https://site.example@evil.example",
        b"\xff\xfe",
    ],
)
async def test_other_pages_may_not_and_nothing_is_raised(origin: bytes) -> None:
    assert not await is_allowed(origin)


async def test_a_second_origin_does_not_help() -> None:
    assert not await is_allowed(b"https://site.example", b"https://evil.example")


async def test_a_site_for_all_hosts_lets_all_pages_in(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert await is_allowed(b"https://anything.example")


async def test_a_site_under_development_lets_local_pages_in(settings: Any) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, []
    assert await is_allowed(b"http://localhost:8000")
    assert not await is_allowed(b"https://evil.example")

"""Which pages may open a socket, and under which host names of the site."""

import asyncio
import logging
from typing import Any

import pytest
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from django.test import RequestFactory
from pytest_django import Settings

from notifications.origin import AllowedOriginValidator

HOST = b"site.example"


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})


async def is_allowed(
    *origins: bytes, host: bytes | None = HOST, scheme: str = "wss", **headers: bytes
) -> bool:
    """Return whether a handshake with these ``Origin`` headers is allowed."""
    return await Site().lets_in(*origins, host=host, scheme=scheme, **headers)


class Site:
    """One process of the site, with its own rate limit of log lines."""

    def __init__(self) -> None:
        self._validator = AllowedOriginValidator(application)

    async def lets_in(
        self, *origins: bytes, host: bytes | None = HOST, scheme: str = "wss", **headers: bytes
    ) -> bool:
        sent: list[dict[str, Any]] = []
        incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        incoming.put_nowait({"type": "websocket.connect"})

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        named = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
        hosts = [] if host is None else [(b"host", host)]
        scope = {
            "type": "websocket",
            "scheme": scheme,
            "path": "/",
            "headers": [*hosts, *((b"origin", origin) for origin in origins), *named],
        }
        await asyncio.wait_for(self._validator(scope, incoming.get, send), 5)
        assert [event["type"] for event in sent] in (["websocket.accept"], ["websocket.close"])
        return bool(sent[0]["type"] == "websocket.accept")


@pytest.fixture(autouse=True)
def hosts(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["site.example", ".wide.example", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example", "https://*.family.example"]
    settings.NOTIFICATIONS = {
        "ALLOWED_ORIGINS": [
            "https://app.example",
            "http://dev.example:3000",
            "https://*.many.example:8443",
            "capacitor://localhost",
        ]
    }


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("wss", b"site.example", b"https://site.example"),
        ("ws", b"site.example", b"http://site.example"),
        ("ws", b"site.example:8000", b"http://site.example:8000"),
        ("wss", b"site.example:443", b"https://site.example"),
        ("wss", b"site.example", b"https://SITE.example"),
        ("wss", b"deep.wide.example", b"https://deep.wide.example"),
        ("wss", b"wide.example", b"https://wide.example"),
        ("ws", b"[::1]:8000", b"http://[::1]:8000"),
    ],
)
async def test_pages_of_the_site_are_allowed(scheme: str, host: bytes, origin: bytes) -> None:
    assert await is_allowed(origin, host=host, scheme=scheme)


@pytest.mark.parametrize(
    "origin",
    [
        b"https://app.example",
        b"https://app.example:443",
        b"http://dev.example:3000",
        b"https://one.many.example:8443",
        b"capacitor://localhost",
        b"https://trusted.example",
        b"https://deep.down.family.example",
    ],
)
async def test_pages_in_the_settings_are_allowed(origin: bytes) -> None:
    assert await is_allowed(origin)


async def test_clients_without_an_origin_are_allowed() -> None:
    assert await is_allowed()
    assert await is_allowed(host=None)


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
        b"https://one.many.example",
        b"https://evilmany.example:8443",
        b"http://one.family.example",
        b"https://evilfamily.example",
        b"null",
        b"",
        b"file://",
        b"site.example",
        b"https://",
        b"http://[",
        b"https://app.example:99999",
        b"https://app.example:port",
        b"https://site.example@evil.example",
        b"https://evil.example@site.example",
        b"https://site.example/",
        b"https://site.example https://evil.example",
        b"https://site.example,https://site.example",
        b"https://site.exam\tple",
        b"\xff\xfe",
    ],
)
async def test_other_pages_are_refused_without_an_exception(origin: bytes) -> None:
    assert not await is_allowed(origin)


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("wss", b"site.example", b"https://site.example:8443"),
        ("wss", b"site.example:8443", b"https://site.example"),
        ("wss", b"site.example", b"http://site.example"),
        ("ws", b"site.example", b"https://site.example"),
        ("wss", b"wide.example", b"https://site.example"),
        ("wss", b"deep.wide.example", b"https://wide.example"),
    ],
)
async def test_another_port_scheme_or_host_of_the_site_is_refused(
    scheme: str, host: bytes, origin: bytes
) -> None:
    assert not await is_allowed(origin, host=host, scheme=scheme)


async def test_a_second_origin_is_refused_even_if_both_are_allowed() -> None:
    assert not await is_allowed(b"https://site.example", b"https://evil.example")
    assert not await is_allowed(b"https://evil.example", b"https://site.example")
    assert not await is_allowed(b"https://site.example", b"https://site.example")


@pytest.mark.parametrize(
    "host", [b"evil.example", b"", b"site.example,evil.example", b"\xff", b"a b"]
)
async def test_a_host_outside_allowed_hosts_is_refused(host: bytes) -> None:
    assert not await is_allowed(host=host)
    assert not await is_allowed(b"https://" + host, host=host)
    assert not await is_allowed(b"https://app.example", host=host)


async def test_a_site_with_any_host_allows_pages_of_the_same_host(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert await is_allowed(b"https://any.example", host=b"any.example")
    assert not await is_allowed(b"https://evil.example", host=b"any.example")


async def test_the_scheme_of_a_trusted_proxy_header_counts(settings: Settings) -> None:
    page = b"https://site.example"
    assert not await is_allowed(page, scheme="ws", x_forwarded_proto=b"https")
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert await is_allowed(page, scheme="ws", x_forwarded_proto=b"https")
    assert not await is_allowed(b"http://site.example", scheme="ws", x_forwarded_proto=b"https")
    assert not await is_allowed(page, scheme="ws", x_forwarded_proto=b"http")


async def test_the_forwarded_host_counts_only_if_it_is_trusted(settings: Settings) -> None:
    page, told = b"https://site.example", b"site.example"
    assert not await is_allowed(page, host=b"internal", x_forwarded_host=told)
    settings.USE_X_FORWARDED_HOST = True
    assert await is_allowed(page, host=b"internal", x_forwarded_host=told)
    assert not await is_allowed(page, x_forwarded_host=b"evil.example")


@pytest.mark.parametrize("hosts", [[], [".localhost", "127.0.0.1", "[::1]"]])
@pytest.mark.parametrize("host", [b"localhost:8000", b"a.b.localhost:8000", b"[::1]:8000"])
async def test_a_site_in_debug_mode_allows_local_pages(
    settings: Settings, hosts: list[str], host: bytes
) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, hosts
    assert await is_allowed(b"http://" + host, host=host, scheme="ws")
    assert not await is_allowed(b"http://evil.example", host=host, scheme="ws")
    assert not await is_allowed(b"http://evillocalhost", host=b"evillocalhost", scheme="ws")


@pytest.mark.parametrize("origin", ["https://site.example", "https://other.example", "null"])
@pytest.mark.parametrize("host", ["site.example", "evil.example", "site.example:8443"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_page_may_open_a_socket_exactly_where_it_may_post(
    settings: Settings, scheme: str, host: str, origin: str
) -> None:
    """The result is that of Django's CSRF check, with the same settings."""
    settings.NOTIFICATIONS = {}
    request = RequestFactory().post("/", secure=scheme == "https", headers={"host": host})
    request.META["HTTP_ORIGIN"] = origin
    socket = await is_allowed(
        origin.encode(), host=host.encode(), scheme="wss" if scheme == "https" else "ws"
    )
    assert socket == _may_post(request)


def _may_post(request: HttpRequest) -> bool:
    middleware = CsrfViewMiddleware(lambda request: None)  # type: ignore[arg-type]
    return bool(middleware._origin_verified(request))  # type: ignore[attr-defined]


async def test_refusals_are_logged_once_a_minute_and_escaped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            assert not await site.lets_in(b"https://evil\x1b[2J\x85\n2026 ERROR x" + b"a" * 9999)
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert line.startswith("A websocket is refused: a page of 'https://evil\\x1b[2J\\x85\\n2026 E")
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 400

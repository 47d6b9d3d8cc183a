"""Pages on networks that break WebSockets, in a real browser on a real server."""

from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_live import LISTEN, badge, bell, connected, send, toasts
from tests.browsers import People, until
from tests.obstacles import Obstacle
from tests.proxies import HoldingProxy
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

#: Whether a page has sent a command in a request.
SENT = """performance.getEntriesByType("resource").some(
  ({ name }) => name.endsWith("/emulation") || name.endsWith("/live/send"))"""


async def _numbered(site: Server, page: Page, numbers: range) -> None:
    send(site, f'for n in range({numbers.start}, {numbers.stop}): notify(reader, f"Number {{n}}")')
    await until(page, f"window.seen.length >= {numbers.stop}", patience=30_000)
    assert await page.evaluate("window.seen") == [f"Number {n}" for n in range(numbers.stop)]


@pytest.mark.parametrize("swallows", [False, True], ids=["refused", "swallowed"])
async def test_p1_toasts_arrive_in_order_where_websockets_are_blocked_and_after_a_kill(
    server: StartServer, people: People, swallows: bool
) -> None:
    site = server()
    async with Obstacle(site.port, swallows=swallows) as network:
        page = await people.log_in(network.url, "reader")
        await connected(page)
        await page.evaluate(LISTEN)
        await _numbered(site, page, range(3))
        await expect(toasts(page)).to_have_count(3)
        assert network.blocked

        site.kill()
        await expect(bell(page)).to_have_attribute("title", "Offline – reconnecting")
        send(site, 'notify(reader, "Number 3")')
        site.start()
        await until(page, "window.seen.length >= 4", patience=30_000)
        await _numbered(site, page, range(4, 6))
        await expect(badge(page)).to_have_text("6")
        await page.locator("main").get_by_role("button", name="Mark read: Number 5").click()
        await expect(badge(page)).to_have_text("5")
        await page.goto("about:blank")
    people.errors.clear()  # of blocked sockets, and while the server was down


async def test_where_streams_are_blocked_too_events_are_used(
    server: StartServer, people: People
) -> None:
    site = server()
    async with Obstacle(site.port, broken=("/connection/http_stream",)) as network:
        page = await people.log_in(network.url, "reader")
        await connected(page)
        await page.evaluate(LISTEN)
        await _numbered(site, page, range(3))
        await until(page, SENT)
        await page.locator("main").get_by_role("button", name="Archive: Number 2").click()
        await expect(badge(page)).to_have_text("2")
        await page.goto("about:blank")
    people.errors.clear()  # of blocked requests


async def test_a_page_uses_the_transports_where_the_settings_say_and_tries_no_other(
    server: StartServer, people: People
) -> None:
    site = server(DJANGO_SETTINGS_MODULE="tests.browser.moved_settings")
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await page.evaluate(LISTEN)
    await _numbered(site, page, range(2))
    await page.locator("main").get_by_role("button", name="Archive: Number 1").click()
    await expect(badge(page)).to_have_text("1")
    await until(page, SENT)
    asked = await page.evaluate('performance.getEntriesByType("resource").map(({ name }) => name)')
    assert not any("/connection/" in url or url.endswith("/emulation") for url in asked)
    # A WebSocket that is refused would be an error on the page's console.
    assert people.errors == []


async def test_behind_a_proxy_that_holds_responses_back_a_page_says_that_it_is_offline(
    server: StartServer, people: People
) -> None:
    site = server()
    proxy = HoldingProxy(site.port)
    try:
        page = await people.log_in(proxy.url, "reader")
        await expect(bell(page)).to_have_attribute("title", "Offline – reconnecting")
        proxy.holds = False
        await expect(bell(page)).to_have_attribute("title", "Notifications", timeout=60_000)
        await connected(page)
        await page.evaluate(LISTEN)
        await _numbered(site, page, range(2))
        await page.goto("about:blank")
    finally:
        proxy.close()
    people.errors.clear()  # of blocked requests


#: Whether a WebSocket can be opened and closed, as the client tests it while it uses a fallback.
PROBE = """
async () => {
  const { Transports } = await import("/static/notifications/transports.js");
  return new Transports("/connection/websocket").probe(2000);
}
"""


async def test_a_websocket_counts_as_possible_only_if_the_server_answers_its_close(
    server: StartServer, people: People
) -> None:
    site = server()
    for swallows in (False, True):
        async with Obstacle(site.port, swallows=swallows) as network:
            page = await people.open()
            await page.goto(f"{network.url}/accounts/login/")
            assert await page.evaluate(PROBE) is False
            network.is_open = True
            assert await page.evaluate(PROBE) is True
    people.errors.clear()  # of blocked sockets

"""The page of the REST API: Swagger UI, from this site only, under its own policy."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.test_live import send
from tests.browser.test_policy import REPORT
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]


async def open_operation(page: Page, summary: str) -> Locator:
    """Open an operation of the page, ready to be tried."""
    operation = page.locator(".opblock").filter(has_text=summary).first
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Try it out").click()
    return operation


@pytest.mark.parametrize("prefix", ["", "/push"])
async def test_the_page_shows_and_tries_operations(
    server: StartServer, people: People, prefix: str
) -> None:
    site = server(SCRIPT_NAME=prefix)
    send(site, 'notify(get_user_model().objects.get(username="reader"), "Over REST")')
    page = await people.log_in(site.url, "reader")
    await page.context.add_init_script(REPORT)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{site.url}/notifications/api/v1/docs")
    await expect(page.get_by_text("Mark all notifications as read")).to_be_visible()
    listing = await open_operation(page, "List notifications")
    await listing.get_by_role("button", name="Execute").click()
    await expect(listing.locator(".live-responses-table")).to_contain_text("Over REST")
    reading = await open_operation(page, "Mark all notifications as read")
    await reading.get_by_role("button", name="Execute").click()
    await expect(reading.locator(".live-responses-table")).to_contain_text('"unread": 0')
    assert people.errors == []
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert hosts == {urlsplit(site.url).netloc}

"""The pages of examples/pages: one bell and one socket, whichever library swaps them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, WebSocket, expect

from tests.examples import GUEST, prepare
from tests.servers import Server
from tests.sites import ROOT
from tests.wheels import borrowing_environment

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.hosts]

TURBO = ROOT / "node_modules" / "@hotwired" / "turbo" / "dist"


@pytest.fixture(scope="module")
def pages(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("pages")
    python = borrowing_environment(directory / "venv", wheel)
    server = prepare("pages", directory, python, TURBO=str(TURBO))
    yield server.start()
    server.kill()


@pytest.mark.parametrize("library", ["htmx", "turbo"])
async def test_a_notification_reaches_a_page_that_was_swapped_in(
    library: str, pages: Server, browser: Browser
) -> None:
    page = await browser.new_page()
    sockets: list[WebSocket] = []
    # A lambda, because Playwright takes no method of a list.
    page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108
    await page.goto(f"{pages.url}/{library}/one/")
    await page.fill("[name=username]", GUEST)
    await page.fill("[name=password]", GUEST)
    await page.click("[type=submit]")
    for name in ("two", "three"):
        await page.click(f"nav a:text-is('{name}')")
        await expect(page.locator("h1")).to_have_text(f"Page {name}")
    title = f"To the third page of {library}"
    pages.manage("notify", GUEST, title)
    await expect(page.get_by_text(title).first).to_be_visible()
    assert len(sockets) == 1, "the pages were loaded, and not swapped"
    await page.close()

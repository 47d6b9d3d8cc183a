"""Pages that Turbo or htmx swap without reloading, with real libraries, browser and server."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, WebSocket, expect

from tests.browser.shells import MODULES, SHELLS
from tests.browser.test_live import badge, bell, connected, send, toasts
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

#: Navigates between two pages by their links ``times`` times, with the panel open.
TO_AND_FRO = """
async (times) => {
  const heading = () => document.querySelector("main h1").textContent;
  for (const name of Array(times / 2).fill(["Inbox", "Home"]).flat()) {
    const before = heading();
    document.querySelector("notification-bell button").click();
    [...document.querySelectorAll("header a")].find((link) => link.textContent === name).click();
    while (heading() === before) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
"""

#: Visits the current page again, which Turbo then morphs.
REFRESH = """
() => new Promise((resolve) => {
  addEventListener("turbo:render", resolve, { once: true });
  Turbo.visit(location.href, { action: "replace" });
})
"""

SWAPS = 50

#: Upper limits of growth: half of what it is if each swap leaks a listener or a bell of 40 nodes.
MAX_GROWTH = {"JSEventListeners": SWAPS / 2, "Nodes": SWAPS / 2 * 40}

#: Stores the bell's element, to compare it later.
REMEMBER = "window.remembered = document.querySelector('notification-bell')"
IS_REMEMBERED = "window.remembered === document.querySelector('notification-bell')"


class Sockets:
    """Records the websockets that a page opens from now on."""

    def __init__(self, page: Page) -> None:
        self.all: list[WebSocket] = []
        page.on("websocket", self._note)

    def _note(self, socket: WebSocket) -> None:
        self.all.append(socket)

    @property
    def open(self) -> int:
        return sum(not socket.is_closed() for socket in self.all)


def serve(server: StartServer, shell: str) -> Server:
    missing = [name for name in SHELLS[shell].scripts if not (MODULES / name).exists()]
    assert not missing, f"scripts/node installs what the tests need, such as {missing}"
    return server(DJANGO_SETTINGS_MODULE="tests.browser.shell_settings", SHELL=shell)


async def enter(people: People, site: Server) -> Page:
    """Log the reader in, and mark the window, so that :func:`is_same` notices a reload."""
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await page.evaluate("window.isSame = true")
    return page


async def is_same(page: Page) -> bool:
    return await page.evaluate("window.isSame") is True


async def visit(page: Page, name: str) -> None:
    """Follow a link of the page's header as a user does."""
    await page.locator("header").get_by_role("link", name=name, exact=True).click()
    # The title may change before the page.
    await expect(page.locator("main h1")).to_contain_text("Hello" if name == "Home" else name)


async def log_out(page: Page) -> None:
    await page.get_by_role("button", name="Log out").click()
    await expect(page.locator("main h1")).to_have_text("Log in")


async def log_in(page: Page, username: str) -> None:
    await page.fill("input[name=username]", username)
    await page.fill("input[name=password]", username)
    await page.press("input[name=password]", "Enter")
    await expect(page.locator("main h1")).to_contain_text(f"Hello {username}")


def rows(page: Page) -> Any:
    return page.locator("main [data-part=rows] li")


@pytest.mark.parametrize("shell", ["turbo", "htmx", "htmx4"])
async def test_a_swapped_page_is_live_and_follows_the_user_who_logs_in(
    server: StartServer, people: People, shell: str
) -> None:
    site = serve(server, shell)
    page = await enter(people, site)
    sockets = Sockets(page)
    for name in ("Inbox", "Home", "Inbox"):
        await visit(page, name)
    send(site, 'notify(reader, "Shipped")')
    await expect(toasts(page)).to_have_count(1)
    await expect(toasts(page)).to_contain_text("Shipped")
    await expect(badge(page)).to_have_text("1")
    await expect(page).to_have_title(re.compile(r"^\(1\) Inbox"))
    await expect(rows(page)).to_have_count(1)

    await visit(page, "Home")
    # The toast and everything else continue on the next page.
    await expect(toasts(page)).to_have_count(1)
    await expect(page.locator(".notification-toasts")).to_have_count(1)
    await expect(page).to_have_title(re.compile(r"^\(1\) Home"))
    await expect(rows(page)).to_have_count(1)
    await bell(page).click()
    await page.get_by_role("dialog").get_by_role("button", name="Mark read: Shipped").click()
    await expect(badge(page)).to_be_hidden()
    await expect(rows(page)).to_have_count(0)
    await expect(toasts(page)).to_have_count(0)
    await expect(page).to_have_title(re.compile("^Home"))
    assert sockets.all == []  # the socket of the first page stays open

    # The page that is shown again is an old copy; its bell and its list must be live too.
    await page.go_back()
    await expect(page.locator("main h1")).to_have_text("Inbox")
    await bell(page).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await expect(rows(page).get_by_role("button", name="Mark unread: Shipped")).to_be_visible()
    await expect(page.locator(".notification-toasts")).to_have_count(1)

    await log_out(page)
    await expect(page).to_have_title(re.compile("^Log in"))
    await expect(page.locator(".notification-toasts")).to_have_count(0)
    await log_in(page, "writer")
    await connected(page)
    assert await is_same(page)
    send(site, 'notify(reader, "For the reader"); broadcast("For all")')
    await expect(toasts(page)).to_have_count(1)
    await expect(toasts(page)).to_contain_text("For all")
    await expect(badge(page)).to_have_text("1")
    await expect(rows(page)).to_have_count(1)
    await expect(bell(page)).to_have_attribute("title", "Notifications")
    assert sockets.open == 1
    ignore_aborts(people)


@pytest.mark.parametrize("shell", ["turbo-morph", "htmx-morph", "htmx4-morph", "turbo-permanent"])
async def test_a_bell_that_survives_morphing_stays_live(
    server: StartServer, people: People, shell: str
) -> None:
    site = serve(server, shell)
    page = await enter(people, site)
    sockets = Sockets(page)
    await page.evaluate(REMEMBER)
    for _ in range(2):
        if shell == "turbo-morph":
            await page.evaluate(REFRESH)
        else:
            await visit(page, "Inbox")
            await visit(page, "Home")
    assert await page.evaluate(IS_REMEMBERED)
    send(site, 'notify(reader, "Shipped")')
    await expect(toasts(page)).to_have_count(1)
    await expect(page.locator(".notification-toasts")).to_have_count(1)
    await expect(badge(page)).to_have_text("1")
    await expect(rows(page)).to_have_count(1)
    await bell(page).click()
    panel = page.get_by_role("dialog")
    await expect(panel).to_be_visible()
    await panel.get_by_role("button", name="Archive: Shipped").click()
    await expect(badge(page)).to_be_hidden()
    await expect(rows(page)).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(panel).to_be_hidden()
    assert await is_same(page)
    assert sockets.all == []
    ignore_aborts(people)


@pytest.mark.parametrize("shell", ["turbo", "htmx-morph"])
async def test_fifty_swaps_leak_no_listener_element_or_socket(
    server: StartServer, people: People, shell: str
) -> None:
    site = serve(server, shell)
    page = await enter(people, site)
    sockets = Sockets(page)
    probe = await page.context.new_cdp_session(page)
    await probe.send("Performance.enable")

    deadline = time.monotonic() + 60

    async def count() -> dict[str, float]:
        await probe.send("HeapProfiler.collectGarbage")
        metrics = (await probe.send("Performance.getMetrics"))["metrics"]
        return {metric["name"]: metric["value"] for metric in metrics}

    await page.evaluate(TO_AND_FRO, 20)
    before = await count()
    await page.evaluate(TO_AND_FRO, SWAPS)
    while True:  # pending requests keep objects alive until they have ended
        after = await count()
        grown = {name: after[name] - before[name] for name in MAX_GROWTH}
        if all(grown[name] < most for name, most in MAX_GROWTH.items()):
            break
        assert time.monotonic() < deadline, grown
        await page.wait_for_timeout(200)
    assert sockets.all == []
    send(site, 'notify(reader, "New")')
    await expect(toasts(page)).to_have_count(1)
    await expect(badge(page)).to_have_text("1")
    await expect(rows(page)).to_have_count(1)
    ignore_aborts(people)


async def test_following_a_link_with_turbo_marks_the_notification_as_read(
    server: StartServer, people: People
) -> None:
    site = serve(server, "turbo")
    send(site, 'notify(reader, "Look", url="/notifications/archived/")')
    page = await enter(people, site)
    await bell(page).click()
    await page.get_by_role("dialog").get_by_role("link", name="Look").click()
    await page.wait_for_url("**/notifications/archived/")
    await expect(badge(page)).to_be_hidden()
    assert await is_same(page)
    ignore_aborts(people)


def ignore_aborts(people: People) -> None:
    """Remove the errors that Turbo logs when it aborts a fetch."""
    people.errors[:] = [error for error in people.errors if "signal is aborted" not in error]

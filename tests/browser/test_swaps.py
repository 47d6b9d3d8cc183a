"""Pages swapped by a script without any library, in a real browser on a real server."""

from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_live import badge, bell, connected, send, toasts
from tests.browser.test_shells import Sockets, rows
from tests.browsers import People, until
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

#: Defines functions that fetch pages and log in, and records the publications of the page.
PREPARE = """
async () => {
  const { notifications } = await import(document.querySelector("script[type=module]").src);
  window.notifications = notifications;
  window.seen = [];
  notifications.on("publication", ({ data }) => window.seen.push(data.title));
  window.fetchPage = async (address, form) => {
    const request = form ? { method: "POST", body: new URLSearchParams(form) } : {};
    const text = await (await fetch(address, request)).text();
    return new DOMParser().parseFromString(text, "text/html");
  };
  window.logIn = async (name) => {
    const page = await fetchPage("/accounts/login/");
    const token = page.querySelector("[name=csrfmiddlewaretoken]").value;
    const form = { csrfmiddlewaretoken: token, username: name, password: name };
    return fetchPage("/accounts/login/", form);
  };
}
"""

SWAP = "async () => document.body.replaceWith((await fetchPage('/')).body)"
SWAP_INSIDE = "async () => document.body.replaceChildren(...(await fetchPage('/')).body.children)"
LOG_IN_AND_SWAP = "async (name) => document.body.replaceWith((await logIn(name)).body)"

#: Shows a preview as Turbo does until it has fetched the page.
PREVIEW = """
async () => {
  document.documentElement.setAttribute("data-turbo-preview", "");
  const preview = document.createElement("body");
  preview.innerHTML = document.body.innerHTML.replaceAll(/user="[0-9]+"/g, 'user="0"');
  document.body.replaceWith(preview);
  await new Promise((resolve) => setTimeout(resolve));
  document.documentElement.removeAttribute("data-turbo-preview");
}
"""

#: The events that a browser sends when it puts a page into the back/forward cache and back.
HIDE = "dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))"
SHOW = "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"


async def begin(people: People, site: Server) -> tuple[Page, Sockets]:
    page = await people.log_in(site.url, "reader")
    await connected(page)
    sockets = Sockets(page)
    await page.reload()
    await connected(page)
    await page.evaluate(PREPARE)
    return page, sockets


async def is_in(page: Page, state: str) -> None:
    await until(page, f"notifications.state === {state!r}")


async def test_the_connection_follows_the_user_named_by_the_page(
    server: StartServer, people: People
) -> None:
    site = server()
    page, sockets = await begin(people, site)
    for swap in (SWAP, SWAP_INSIDE, PREVIEW, SWAP):
        await page.evaluate(swap)
    assert len(sockets.all) == 1

    # From the page of one user directly to that of another.
    await page.evaluate(LOG_IN_AND_SWAP, "writer")
    await is_in(page, "connected")
    send(site, 'notify(reader, "For the reader"); broadcast("For all")')
    await expect(toasts(page)).to_have_count(1)
    await expect(rows(page)).to_have_count(1)
    await expect(badge(page)).to_have_text("1")
    assert await page.evaluate("seen") == ["For all"]
    assert sockets.open == 1

    # A page that names no user has no socket, no toasts and no count in the title.
    await page.evaluate("document.body.replaceChildren()")
    await is_in(page, "disconnected")
    await expect(page).to_have_title("Home · pushsite")
    await expect(page.locator(".notification-toasts")).to_have_count(0)
    await page.evaluate(SWAP)
    await is_in(page, "connected")
    await expect(badge(page)).to_have_text("1")
    await expect(page).to_have_title("(1) Home · pushsite")
    assert sockets.open == 1


async def test_a_page_restored_from_the_cache_catches_up(
    server: StartServer, people: People
) -> None:
    site = server()
    page, sockets = await begin(people, site)
    await page.evaluate(HIDE)
    await is_in(page, "disconnected")
    send(site, 'notify(reader, "Meanwhile")')
    await page.evaluate(SHOW)
    await expect(badge(page)).to_have_text("1")
    await expect(rows(page)).to_have_count(1)
    assert await page.evaluate("seen") == ["Meanwhile"]
    assert sockets.open == 1

    # Another user logs in before the page is shown again.
    await page.evaluate(HIDE)
    await page.evaluate("logIn('writer')")
    await page.evaluate(SHOW)
    await expect(bell(page)).to_have_attribute("title", "Signed out – reload the page")
    # After a swap to a page that names this user, no reload is needed.
    await page.evaluate(SWAP)
    await is_in(page, "connected")
    await expect(bell(page)).to_have_attribute("title", "Notifications")
    await expect(badge(page)).to_be_hidden()

    # Nor is one needed after a swap to a page of the same user, who has logged in again.
    await page.evaluate(HIDE)
    await page.evaluate("logIn('reader')")
    await page.evaluate(SHOW)
    await expect(bell(page)).to_have_attribute("title", "Signed out – reload the page")
    await page.evaluate(LOG_IN_AND_SWAP, "writer")
    await is_in(page, "connected")
    await expect(bell(page)).to_have_attribute("title", "Notifications")
    assert sockets.open == 1

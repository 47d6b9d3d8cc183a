"""Several tabs of one browser, which share a connection, in a real browser on a real server."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_live import LISTEN, badge, bell, connected, send, toasts
from tests.browsers import TIMEOUT, People, until
from tests.obstacles import Obstacle
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

#: Marks a page before its modules run.
SAY_NO = """
new MutationObserver(() => { document.documentElement.dataset.notificationsShare = "off"; })
  .observe(document, { childList: true });
"""

SIGNED_OUT = "Signed out – reload the page"


def connections(site: Server) -> list[str]:
    """The users of the server's connections."""
    query = "SELECT username FROM notifications_connection JOIN auth_user ON auth_user.id = user_id"
    database = Path(site.env["DATA_DIR"]) / "db.sqlite3"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return sorted(name for (name,) in connection.execute(query))


async def wait_for_connections(page: Page, site: Server, *users: str) -> None:
    for _ in range(TIMEOUT // 100):
        if connections(site) == sorted(users):
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"the connections are of {connections(site)}")


async def tabs_of(site: Server, people: People, count: int, *, url: str = "") -> list[Page]:
    """Open tabs of one browser, in which the reader is logged in. The first one is the leader."""
    first = await people.log_in(url or site.url, "reader")
    await connected(first)
    pages = [first]
    while len(pages) < count:
        page = await first.context.new_page()
        await page.goto(f"{url or site.url}/notifications/")
        await connected(page)
        pages.append(page)
    for page in pages:
        await page.evaluate(LISTEN)
    return pages


async def crash(page: Page) -> None:
    session = await page.context.new_cdp_session(page)
    async with page.expect_event("crash"):
        with suppress(TimeoutError):  # nobody answers
            await asyncio.wait_for(session.send("Page.crash"), 2)


async def expect_seen(pages: list[Page], *titles: str) -> None:
    for page in pages:
        await until(page, f"window.seen.length >= {len(titles)}", patience=30_000)
        assert await page.evaluate("window.seen") == list(titles)


async def test_tabs_share_one_connection_unless_a_page_says_no(
    server: StartServer, people: People
) -> None:
    site = server()
    pages = await tabs_of(site, people, 3)
    await wait_for_connections(pages[0], site, "reader")
    send(site, 'notify(reader, "Shipped")')
    await expect_seen(pages, "Shipped")
    for page in pages:
        await expect(toasts(page)).to_have_count(1)
        await expect(badge(page)).to_have_text("1")
    assert connections(site) == ["reader"]

    alone = await pages[0].context.new_page()
    await alone.add_init_script(SAY_NO)
    await alone.goto(f"{site.url}/notifications/")
    await connected(alone)
    await wait_for_connections(alone, site, "reader", "reader")


async def test_p1_when_the_leading_tab_is_closed_or_crashes_another_one_takes_over(
    server: StartServer, people: People
) -> None:
    site = server()
    first, second, third, fourth = await tabs_of(site, people, 4)
    send(site, 'notify(reader, "One")')
    await expect_seen([second, third, fourth], "One")
    await first.close()
    send(site, 'notify(reader, "Two"); notify(reader, "Three")')
    await expect_seen([second, third, fourth], "One", "Two", "Three")
    await wait_for_connections(fourth, site, "reader")
    await crash(second)
    send(site, 'notify(reader, "Four")')
    await expect_seen([third, fourth], "One", "Two", "Three", "Four")
    # The next one is closed while the server is down.
    site.kill()
    send(site, 'notify(reader, "Five")')
    await third.close()
    site.start()
    await expect_seen([fourth], "One", "Two", "Three", "Four", "Five")
    await expect(badge(fourth)).to_have_text("5")
    people.errors.clear()  # of failed connections while the server was down


async def test_p1_when_the_leading_tab_is_frozen_another_one_takes_over(
    server: StartServer, people: People
) -> None:
    site = server()
    first, second = await tabs_of(site, people, 2)
    session = await first.context.new_cdp_session(first)
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    send(site, 'notify(reader, "One")')
    await expect_seen([second], "One")
    await session.send("Page.setWebLifecycleState", {"state": "active"})
    await expect_seen([first], "One")
    send(site, 'notify(reader, "Two")')
    await expect_seen([first, second], "One", "Two")
    await wait_for_connections(first, site, "reader")


async def test_p1_when_the_leading_tab_hangs_another_one_takes_over(
    server: StartServer, people: People
) -> None:
    """Within seconds: the pings of the server would be missed only after half a minute."""
    site = server()
    first, second = await tabs_of(site, people, 2)
    # Nothing runs in it until it is closed, and it keeps the lock.
    await first.evaluate("setTimeout(() => { for (;;); }, 0)")
    send(site, 'notify(reader, "One")')
    await until(second, "window.seen.length === 1", patience=20_000)
    assert await second.evaluate("window.seen") == ["One"]
    await first.close()


#: Calls a method of the page's client.
CALL = """
async (method) => {
  const { client } = await import(document.querySelector("script[type=module]").src);
  client[method]();
}
"""

#: The state of the page's client.
STATE = """
async () => {
  const { client } = await import(document.querySelector("script[type=module]").src);
  return client.state;
}
"""


async def test_a_page_that_was_disconnected_by_its_code_stays_so_when_it_is_resumed(
    server: StartServer, people: People
) -> None:
    site = server()
    (page,) = await tabs_of(site, people, 1)
    session = await page.context.new_cdp_session(page)

    async def freeze_and_resume() -> None:
        for state in ("frozen", "active"):
            await session.send("Page.setWebLifecycleState", {"state": state})

    await freeze_and_resume()
    await connected(page)
    await page.evaluate(CALL, "disconnect")
    await freeze_and_resume()
    assert await page.evaluate(STATE) == "disconnected"


async def test_another_user_in_the_same_browser_is_apart(
    server: StartServer, people: People
) -> None:
    site = server()
    (first,) = await tabs_of(site, people, 1)
    other = await first.context.new_page()
    await other.goto(f"{site.url}/accounts/login/")
    await other.fill("input[name=username]", "writer")
    await other.fill("input[name=password]", "writer")
    await other.press("input[name=password]", "Enter")
    await connected(other)
    await other.evaluate(LISTEN)
    send(site, 'notify(get_user_model().objects.get(username="writer"), "For the writer")')
    await expect_seen([other], "For the writer")
    assert await first.evaluate("window.seen") == []


async def test_a_logout_in_one_tab_ends_all(server: StartServer, people: People) -> None:
    site = server()
    *others, last = await tabs_of(site, people, 3)
    await last.get_by_role("button", name="Log out").click()
    for page in others:
        await expect(bell(page)).to_have_attribute("title", SIGNED_OUT, timeout=TIMEOUT)
    await wait_for_connections(last, site)


async def test_many_tabs_work_where_websockets_are_blocked(
    server: StartServer, people: People
) -> None:
    """A browser opens six connections to a host at most, and each stream takes one."""
    site = server()
    async with Obstacle(site.port) as network:
        pages = await tabs_of(site, people, 8, url=network.url)
        send(site, 'notify(reader, "Shipped")')
        await expect_seen(pages, "Shipped")
        await wait_for_connections(pages[0], site, "reader")
        for page in pages:
            await page.close()
    people.errors.clear()  # of blocked sockets

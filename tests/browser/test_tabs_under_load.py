"""Tabs that share a connection lose and repeat nothing while many messages are on their way."""

import asyncio
from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_live import badge, send
from tests.browser.test_tabs import tabs_of
from tests.browsers import People, until
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

#: Milliseconds for many messages on a slow machine.
PATIENCE = 120_000

COUNT = 1000

#: How many messages one process sends.
PART = 200


async def sending(site: Server, count: int) -> None:
    """Send numbered messages from other processes, each of which may take a while."""
    for start in range(0, count, PART):
        numbers = range(start, min(start + PART, count))
        await asyncio.to_thread(send, site, f"for n in {numbers}: notify(reader, str(n))")


async def seen(page: Page, count: int) -> None:
    await until(page, f"window.seen.length >= {count}", patience=PATIENCE)


async def expect_all_once_in_order(pages: list[Page], count: int) -> None:
    for page in pages:
        await seen(page, count)
        assert await page.evaluate("window.seen") == [str(number) for number in range(count)]
        await expect(badge(page)).to_have_text("99+" if count > 99 else str(count))


async def test_p1_p3_the_leader_is_closed_and_the_server_killed_among_1000_messages(
    server: StartServer, people: People
) -> None:
    site = server()
    first, second, third = await tabs_of(site, people, 3)
    task = asyncio.create_task(sending(site, COUNT))
    await seen(third, 100)
    await first.close()
    await seen(third, 300)
    await seen(second, 300)
    site.kill()
    await asyncio.to_thread(site.start)
    await task
    await expect_all_once_in_order([second, third], COUNT)
    people.errors.clear()  # of failed connections while the server was down


async def test_p1_p3_a_laptop_that_was_offline_gets_all_in_every_tab(
    server: StartServer, people: People
) -> None:
    site = server()
    pages = await tabs_of(site, people, 2)
    context = pages[0].context
    await context.set_offline(True)
    # Whatever was still open is gone when the laptop wakes up.
    site.kill()
    await sending(site, 300)
    await asyncio.to_thread(site.start)
    await context.set_offline(False)
    await expect_all_once_in_order(pages, 300)
    people.errors.clear()  # of failed connections meanwhile


async def test_p1_p3_frozen_tabs_catch_up_in_turn(server: StartServer, people: People) -> None:
    site = server()
    first, second = await tabs_of(site, people, 2)
    sessions = [await page.context.new_cdp_session(page) for page in (first, second)]
    task = asyncio.create_task(sending(site, 300))
    for page, other, session in ((first, second, sessions[0]), (second, first, sessions[1])):
        await session.send("Page.setWebLifecycleState", {"state": "frozen"})
        already = await other.evaluate("window.seen.length")
        await seen(other, min(already + 50, 300))
        await session.send("Page.setWebLifecycleState", {"state": "active"})
        await seen(page, min(already + 50, 300))
    await task
    await expect_all_once_in_order([first, second], 300)

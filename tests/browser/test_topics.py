"""Following and leaving topics, in real browsers on a real server."""

from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.test_live import connected, send, toasts
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

TOPICS = "news,releases"


def row(page: Page, slug: str) -> Locator:
    return page.locator(f'.notification-topic[data-channel="topic:{slug}"]')


async def follows(page: Page, slug: str, is_followed: bool) -> None:
    button = row(page, slug).get_by_role("button")
    # A connection that was cut may take as long to come back.
    await expect(button).to_have_text("Leave" if is_followed else "Follow", timeout=30_000)


async def open_topics(page: Page, site: Server) -> Page:
    await page.goto(f"{site.url}/notifications/")
    await page.get_by_role("link", name="Topics").click()
    await connected(page)
    return page


async def test_leaving_a_topic_is_followed_by_every_tab_and_device(
    server: StartServer, people: People
) -> None:
    site = server(NOTIFICATIONS_TOPICS=TOPICS)
    first = await open_topics(await people.log_in(site.url, "writer"), site)
    second = await open_topics(await first.context.new_page(), site)
    phone = await people.log_in(site.url, "writer", viewport={"width": 390, "height": 800})
    await open_topics(phone, site)
    for page in (first, second, phone):
        await follows(page, "news", False)

    await first.get_by_role("button", name="Follow: news").press("Enter")
    for page in (first, second, phone):
        await follows(page, "news", True)
        await follows(page, "releases", False)
    # The focus stays with the row, whose other button is shown now.
    await expect(first.get_by_role("button", name="Leave: news")).to_be_focused()
    await expect(first.get_by_role("status")).to_have_text("You follow news")
    send(site, 'broadcast("For followers", to="topic:news")')
    for page in (first, second, phone):
        await expect(toasts(page)).to_contain_text("For followers")

    await phone.get_by_role("button", name="Leave: news").click()
    for page in (first, second, phone):
        await follows(page, "news", False)
    send(site, 'broadcast("Too late", to="topic:news"); broadcast("For all")')
    for page in (first, second, phone):
        await expect(toasts(page).filter(has_text="For all")).to_have_count(1)
        await expect(toasts(page).filter(has_text="Too late")).to_have_count(0)
    await first.reload()
    await follows(first, "news", False)


async def test_a_tab_that_was_away_does_not_join_again_what_was_left(
    server: StartServer, people: People
) -> None:
    site = server(NOTIFICATIONS_TOPICS=TOPICS)
    page = await open_topics(await people.log_in(site.url, "writer"), site)
    await page.get_by_role("button", name="Follow: news").click()
    await follows(page, "news", True)
    site.kill()
    send(
        site,
        "from notifications import inbox\n"
        'writer = get_user_model().objects.get(username="writer")\n'
        'inbox.leave(writer, "topic:news"); inbox.join(writer, "topic:releases")',
    )
    site.start()
    await follows(page, "news", False)
    await follows(page, "releases", True)
    send(site, 'broadcast("Too late", to="topic:news"); broadcast("New", to="topic:releases")')
    await expect(toasts(page).filter(has_text="New")).to_have_count(1)
    await expect(toasts(page).filter(has_text="Too late")).to_have_count(0)
    people.errors.clear()  # of the connections that nobody took


async def test_without_javascript_the_forms_do_it(server: StartServer, people: People) -> None:
    site = server(NOTIFICATIONS_TOPICS=TOPICS)
    page = await people.log_in(site.url, "writer", java_script_enabled=False)
    await page.goto(f"{site.url}/notifications/topics/")
    await page.get_by_role("button", name="Follow: releases").click()
    await expect(page.get_by_text("You follow “releases” from now on.")).to_be_visible()
    await follows(page, "releases", True)
    await page.get_by_role("button", name="Leave: releases").click()
    await expect(page.get_by_text("You no longer follow “releases”.")).to_be_visible()
    await follows(page, "releases", False)
    assert page.url == f"{site.url}/notifications/topics/"


@pytest.mark.parametrize("width", [320, 1280])
async def test_the_page_fits(server: StartServer, people: People, width: int) -> None:
    slug = "a-topic-with-a-long-name-" * 4
    site = server(NOTIFICATIONS_TOPICS=f"news,{slug[:100]}")
    size = {"width": width, "height": 700}
    page = await open_topics(await people.log_in(site.url, "reader", viewport=size), site)
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

"""Following and leaving topics, in real browsers on a real server."""

from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, WebSocketRoute, expect

from tests.browser.test_live import LISTEN, connected, send, toasts
from tests.browsers import People, until
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

TOPICS = "news,releases"


def row(page: Page, slug: str) -> Locator:
    return page.locator(f'.notification-topic[data-channel="topic:{slug}"]')


async def follows(page: Page, slug: str, is_followed: bool) -> None:
    button = row(page, slug).get_by_role("button")
    # A client that was cut off may take this long to reconnect.
    await expect(button).to_have_text("Leave" if is_followed else "Follow", timeout=30_000)


async def open_topics(page: Page, site: Server) -> Page:
    await page.goto(f"{site.url}/notifications/")
    await page.get_by_role("link", name="Topics").click()
    await connected(page)
    return page


async def test_following_and_leaving_a_topic_updates_every_tab_and_device(
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
    # The focus stays in the row and moves to its other button.
    await expect(first.get_by_role("button", name="Leave: news")).to_be_focused()
    await expect(first.get_by_role("status")).to_have_text("You follow “news” from now on.")
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


class SlowAnswer:
    """Delays the frames of the server, beginning with the reply to the first ``subscribe``."""

    def __init__(self) -> None:
        self._page: WebSocketRoute | None = None
        self._held: list[str | bytes] = []
        self._is_over = False

    def route(self, page: WebSocketRoute) -> None:
        self._page = page
        page.connect_to_server().on_message(self._pass)

    @property
    def is_holding(self) -> bool:
        return bool(self._held)

    def release(self) -> None:
        assert self._page is not None
        self._is_over = True
        for frame in self._held:
            self._page.send(frame)

    def _pass(self, frame: str | bytes) -> None:
        assert self._page is not None
        begins = '"subscribe":' in str(frame) and not self._is_over
        if begins or (self._held and not self._is_over):
            self._held.append(frame)
        else:
            self._page.send(frame)


async def test_p1_publications_in_a_late_reply_to_subscribe_are_shown(
    server: StartServer, people: People
) -> None:
    site = server(NOTIFICATIONS_TOPICS=TOPICS)
    send(site, "from notifications import inbox; inbox.join(reader, 'topic:news')")
    page = await people.log_in(site.url, "reader")
    await connected(page)
    send(site, 'broadcast("One", to="topic:news")')
    await expect(toasts(page)).to_contain_text("One")
    await page.goto("about:blank")
    send(site, 'broadcast("Two", to="topic:news"); broadcast("Three", to="topic:news")')

    slow = SlowAnswer()
    await page.route_web_socket("**/connection/websocket", slow.route)
    await page.clock.install()
    await page.goto(site.url)
    await connected(page)
    await page.evaluate(LISTEN)
    while not slow.is_holding:
        await page.wait_for_timeout(20)
    await page.clock.run_for(5_000)
    slow.release()
    send(site, 'broadcast("Four", to="topic:news")')
    await until(page, "seen.includes('Four')")
    assert await page.evaluate("seen") == ["Two", "Three", "Four"]


async def test_a_tab_that_was_offline_does_not_rejoin_a_topic_left_meanwhile(
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
    people.errors.clear()  # of failed connections while the server was down


async def test_topics_are_followed_and_left_without_javascript(
    server: StartServer, people: People
) -> None:
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
async def test_the_topics_page_does_not_scroll_sideways(
    server: StartServer, people: People, width: int
) -> None:
    slug = "a-topic-with-a-long-name-" * 4
    site = server(NOTIFICATIONS_TOPICS=f"news,{slug[:100]}")
    size = {"width": width, "height": 700}
    page = await open_topics(await people.log_in(site.url, "reader", viewport=size), site)
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

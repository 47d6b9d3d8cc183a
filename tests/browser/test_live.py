"""What a reader sees live, in a real browser on a real server."""

import re
from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.browsers import People, until
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

SEND = """
from django.contrib.auth import get_user_model
from notifications import broadcast, notify
reader = get_user_model().objects.get(username="reader")
"""

#: Records the titles of the publications that reach the page's own code, in order.
LISTEN = """
async () => {
  const { notifications } = await import(document.querySelector("script[type=module]").src);
  window.seen = [];
  notifications.on("publication", ({ data }) => window.seen.push(data.title));
}
"""


def send(server: Server, code: str) -> None:
    """Run ``code`` in another process, with ``reader``, ``notify`` and ``broadcast`` defined."""
    server.manage("shell", "--verbosity", "0", "--command", f"{SEND}\n{code}")


def toasts(page: Page):
    return page.locator(".notification-toast")


def bell(page: Page):
    return page.locator("notification-bell button.notification-bell__button")


def badge(page: Page):
    return page.locator("notification-bell [data-part=badge]")


async def connected(page: Page) -> None:
    await until(
        page,
        """async () => {
          const script = document.querySelector("script[type=module]");
          return script && (await import(script.src)).notifications.state === "connected";
        }""",
    )


async def test_a_notification_of_another_process_updates_toast_badge_title_and_list(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await expect(page.get_by_text("You are all caught up.").last).to_be_visible()

    send(site, 'notify(reader, "Shipped", body="Today", url="/notifications/", level="success")')
    # Without Redis, the position check finds it.
    await expect(toasts(page)).to_have_count(1)
    await expect(toasts(page)).to_contain_text("Shipped")
    await expect(toasts(page)).to_contain_text("Success")
    await expect(badge(page)).to_have_text("1")
    await expect(page).to_have_title(re.compile(r"^\(1\) "))
    await expect(bell(page)).to_have_attribute("aria-label", "Notifications, 1 unread")
    await expect(page.locator("main [data-part=rows] li")).to_have_count(1)
    await expect(page.locator("main [data-part=title]").first).to_have_text("Shipped")


async def test_every_tab_shows_a_toast_once(server: StartServer, people: People) -> None:
    site = server()
    first = await people.log_in(site.url, "reader")
    second = await first.context.new_page()
    await second.goto(f"{site.url}/notifications/")
    for page in (first, second):
        await connected(page)
    send(site, 'notify(reader, "Shipped")')
    for page in (first, second):
        await expect(toasts(page)).to_have_count(1)
        await expect(badge(page)).to_have_text("1")


async def test_a_toast_disappears_unless_the_pointer_is_over_it(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await page.clock.install()
    await page.reload()
    await connected(page)
    send(site, 'notify(reader, "First")')
    await page.clock.run_for(100)
    await toasts(page).hover()
    await page.clock.run_for(20_000)
    await expect(toasts(page)).to_have_count(1)
    await page.mouse.move(0, 0)
    await page.clock.run_for(5900)
    await expect(toasts(page)).to_have_count(1)
    await page.clock.run_for(200)
    await expect(toasts(page)).to_have_count(0)


async def test_toasts_are_announced_by_level_and_can_be_dismissed(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    send(site, 'notify(reader, "Calm"); notify(reader, "Urgent", level="error")')
    await expect(page.locator("[aria-live=polite] .notification-toast")).to_contain_text("Calm")
    urgent = page.locator("[aria-live=assertive] .notification-toast")
    await expect(urgent).to_contain_text("Urgent")
    await urgent.get_by_role("button", name="Dismiss").click()
    await expect(toasts(page)).to_have_count(1)


async def test_many_notifications_at_once_are_folded_into_few_toasts(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await page.evaluate(LISTEN)
    send(site, 'for number in range(30): notify(reader, f"Number {number}")')
    await until(page, "window.seen.length === 30")
    assert await page.evaluate("window.seen") == [f"Number {number}" for number in range(30)]
    await expect(badge(page)).to_have_text("30")
    assert await toasts(page).count() <= 4


#: Emits publications without a pause, and returns how many toasts there are after the last one.
POUR = """
async () => {
  const { client } = await import(document.querySelector("script[type=module]").src);
  for (let offset = 1; offset <= 100; offset += 1) {
    const data = { id: offset, title: `Number ${offset}` };
    client.emit("publication", { channel: "user:0", offset, data, recovered: false });
  }
  return document.querySelectorAll(".notification-toast").length;
}
"""


async def test_p5_notifications_that_come_without_a_pause_are_shown_meanwhile(
    server: StartServer, people: People
) -> None:
    page = await people.log_in(server().url, "reader")
    await connected(page)
    assert await page.evaluate(POUR) == 1
    await expect(toasts(page)).to_contain_text("100 new notifications")


async def test_read_state_is_synchronized_across_tabs_and_devices(
    server: StartServer, people: People
) -> None:
    site = server()
    send(site, 'for number in range(3): notify(reader, f"Number {number}")')
    first = await people.log_in(site.url, "reader")
    second = await first.context.new_page()
    await second.goto(f"{site.url}/notifications/")
    phone = await people.log_in(site.url, "reader", viewport={"width": 390, "height": 800})
    for page in (first, second, phone):
        await connected(page)
        await expect(badge(page)).to_have_text("3")

    await bell(phone).click()
    panel = phone.get_by_role("dialog")
    await expect(panel.get_by_role("listitem")).to_have_count(3)
    await panel.get_by_role("button", name="Mark read: Number 1").click()
    await expect(panel.get_by_role("listitem")).to_have_count(2)
    for page in (first, second, phone):
        await expect(badge(page)).to_have_text("2")
    row = second.locator("main li", has_text="Number 1")
    await expect(row.get_by_text("Unread", exact=True)).to_be_hidden()
    await expect(first.locator("main li")).to_have_count(2)

    await second.get_by_role("button", name="Archive: Number 2").click()
    await expect(second.locator("main li")).to_have_count(2)
    for page in (first, second, phone):
        await expect(badge(page)).to_have_text("1")
    await expect(first.locator("main li")).to_have_count(1)

    await panel.get_by_role("button", name="Mark all as read").click()
    for page in (first, second, phone):
        await expect(badge(page)).to_be_hidden()
        await expect(page).not_to_have_title(re.compile(r"^\("))


async def test_a_reload_does_not_repeat_a_toast(server: StartServer, people: People) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    send(site, 'notify(reader, "Once")')
    await expect(toasts(page)).to_have_count(1)
    await page.reload()
    await connected(page)
    await page.evaluate(LISTEN)
    send(site, 'notify(reader, "Twice")')
    await until(page, "window.seen.length")
    assert await page.evaluate("window.seen") == ["Twice"]
    await expect(toasts(page)).to_have_count(1)
    await expect(toasts(page)).to_contain_text("Twice")
    await expect(badge(page)).to_have_text("2")


async def test_p3_after_a_server_is_killed_each_notification_arrives_once_and_in_order(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await page.evaluate(LISTEN)
    send(site, 'notify(reader, "Number 0")')
    await until(page, "window.seen.length === 1")

    site.kill()
    await expect(bell(page)).to_have_attribute("title", "Offline – reconnecting")
    await expect(bell(page)).to_have_attribute("aria-label", re.compile("Offline – reconnecting"))
    send(site, 'for number in range(1, 4): notify(reader, f"Number {number}")')
    site.start()
    await until(page, "window.seen.length >= 4", patience=30_000)
    await expect(bell(page)).to_have_attribute("title", "Notifications")
    send(site, 'notify(reader, "Number 4")')
    await until(page, "window.seen.length >= 5")
    assert await page.evaluate("window.seen") == [f"Number {number}" for number in range(5)]
    await expect(badge(page)).to_have_text("5")
    await expect(page.locator("main li")).to_have_count(5)
    people.errors.clear()  # of failed connections while the server was down


async def test_no_toast_is_shown_for_what_another_device_has_read(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await page.evaluate(LISTEN)
    await page.context.set_offline(True)
    site.kill()
    send(site, 'notify(reader, "Old"); notify(reader, "New")')
    send(
        site,
        "from notifications import inbox\n"
        "old = inbox.list_entries(reader).entries[1].notification\n"
        "inbox.mark_read(reader, [old.pk])",
    )
    site.start()
    await page.context.set_offline(False)
    await until(page, "window.seen.length === 2", patience=30_000)
    await expect(toasts(page)).to_have_count(1)
    await expect(toasts(page)).to_contain_text("New")
    await expect(page.locator("main li")).to_have_count(1)
    await expect(badge(page)).to_have_text("1")
    people.errors.clear()  # of failed connections while the server was down


async def test_signing_out_in_another_tab_is_shown(server: StartServer, people: People) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    other = await page.context.new_page()
    await other.goto(f"{site.url}/notifications/")
    await other.get_by_role("button", name="Log out").click()
    await expect(bell(page)).to_have_attribute("title", "Signed out – reload the page")
    await bell(page).click()
    await expect(page.get_by_role("status")).to_have_text("Signed out – reload the page")


async def test_a_page_does_not_show_notifications_of_another_user_in_the_same_browser(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await page.evaluate(LISTEN)
    other = await page.context.new_page()
    await other.goto(f"{site.url}/accounts/login/")
    await other.fill("input[name=username]", "writer")
    await other.fill("input[name=password]", "writer")
    await other.press("input[name=password]", "Enter")
    await connected(other)
    # The restart makes the first page reconnect, with what is now the other user's cookie.
    site.kill()
    site.start()
    await expect(bell(page)).to_have_attribute(
        "title", "Signed out – reload the page", timeout=30_000
    )
    await connected(other)
    send(site, 'broadcast("For everybody")')
    await expect(toasts(other)).to_have_count(1)
    assert await page.evaluate("window.seen") == []
    people.errors.clear()  # of failed connections while the server was down


async def test_a_list_of_big_entries_is_refilled(server: StartServer, people: People) -> None:
    """The entries are read in several pages, because the size of a reply is limited."""
    site = server()
    send(site, 'for n in range(22): notify(reader, f"Number {n}", body="☃" * 9_000)')
    page = await people.log_in(site.url, "reader")
    await page.goto(f"{site.url}/notifications/unread/")
    await connected(page)
    rows = page.locator("main [data-part=rows] li")
    await expect(rows).to_have_count(20)
    await rows.first.get_by_role("button", name="Mark read: Number 21").click()
    await expect(page.locator("main").get_by_text("Number 1", exact=True)).to_be_visible()
    await expect(rows).to_have_count(20)


async def test_markup_in_a_notification_is_shown_as_text(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    evil = "<script>document.title='broken'</script><img src=x onerror=document.body.remove()>"
    send(site, f'notify(reader, "{evil}", body="{evil}")')
    await expect(toasts(page)).to_contain_text(evil)
    await expect(page.locator("main [data-part=title]").first).to_have_text(evil)
    await bell(page).click()
    await expect(page.get_by_role("dialog").locator("[data-part=body]").first).to_have_text(evil)
    await page.reload()
    await expect(page.locator("main [data-part=title]").first).to_have_text(evil)
    await expect(page).to_have_title(re.compile("Home"))


async def test_following_a_link_marks_the_notification_as_read(
    server: StartServer, people: People
) -> None:
    site = server()
    send(site, 'notify(reader, "Look", url="/notifications/archived/")')
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await bell(page).click()
    await page.get_by_role("dialog").get_by_role("link", name="Look").click()
    await page.wait_for_url("**/notifications/archived/")
    await expect(badge(page)).to_be_hidden()


async def test_the_panel_can_be_used_by_keyboard(server: StartServer, people: People) -> None:
    site = server()
    send(site, 'notify(reader, "One"); notify(reader, "Two")')
    page = await people.log_in(site.url, "reader")
    await connected(page)
    await expect(bell(page)).to_have_attribute("aria-expanded", "false")
    await bell(page).press("Enter")
    panel = page.get_by_role("dialog", name="Notifications")
    await expect(panel).to_be_focused()
    await expect(bell(page)).to_have_attribute("aria-expanded", "true")
    await expect(panel.get_by_role("listitem")).to_have_count(2)
    await panel.get_by_role("button", name="Archive: Two").press("Enter")
    await expect(panel.get_by_role("listitem")).to_have_count(1)
    # The focus stays in the panel although the row that had it is gone.
    await expect(panel.locator(":focus")).to_have_count(1)
    await page.keyboard.press("Escape")
    await expect(panel).to_be_hidden()
    await expect(bell(page)).to_be_focused()


async def test_a_publication_of_a_followed_topic_arrives_live(
    server: StartServer, people: People
) -> None:
    site = server(NOTIFICATIONS_TOPICS="news")
    join = (
        "from notifications.streams import subscriptions\n"
        "subscriptions.join([reader.pk], 'topic:news')"
    )
    send(site, join)
    page = await people.log_in(site.url, "reader")
    await connected(page)
    send(site, 'broadcast("News", to="topic:news")')
    await expect(toasts(page)).to_contain_text("News")


async def test_a_page_of_older_notifications_links_to_new_ones(
    server: StartServer, people: People
) -> None:
    site = server()
    send(site, 'for number in range(21): notify(reader, f"Number {number}")')
    page = await people.log_in(site.url, "reader")
    await page.goto(f"{site.url}/notifications/")
    await page.get_by_role("link", name="Older").click()
    await connected(page)
    await expect(page.locator("main li")).to_have_count(1)
    send(site, 'notify(reader, "Fresh")')
    await page.get_by_role("link", name="1 new notification").click()
    await expect(page.locator("main [data-part=title]").first).to_have_text("Fresh")


async def test_leaving_a_page_while_it_connects_logs_nothing_to_the_console(
    server: StartServer, people: People
) -> None:
    page = await people.log_in(server().url, "reader")
    await connected(page)
    await page.evaluate(
        """async () => {
          const { client } = await import(document.querySelector("script[type=module]").src);
          client.disconnect();
          client.connect();
          client.disconnect();
        }"""
    )
    await page.reload()
    await connected(page)

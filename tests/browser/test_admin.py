"""Actions of an administrator and their effect on readers, in real browsers on a real server."""

import re
from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_live import bell, connected, toasts
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def test_a_broadcast_is_composed_previewed_sent_and_shown_in_open_browsers(
    server: StartServer, people: People
) -> None:
    site = server()
    readers = [await people.log_in(site.url, name) for name in ("reader", "writer")]
    for page in readers:
        await connected(page)

    admin = await people.log_in(site.url, "admin")
    await admin.goto(f"{site.url}/admin/notifications/broadcast/")
    await admin.get_by_role("link", name="Compose broadcast").click()
    await admin.get_by_label("Title").fill("Maintenance tonight")
    await admin.get_by_label("Text").fill("From 22:00 to 23:00")
    await admin.get_by_label("Level").select_option("warning")
    await press(admin, "Preview")
    await expect(admin.locator(".notifications-summary")).to_contain_text("Everyone 3 users now")
    await expect(toasts(admin)).to_contain_text("Maintenance tonight")
    for page in readers:
        await expect(toasts(page)).to_have_count(0)

    await press(admin, "Send")
    for page in readers:
        toast = toasts(page)
        await expect(toast).to_have_count(1)
        await expect(toast).to_contain_text("Maintenance tonight")
        await expect(toast).to_contain_text("Warning")
    await expect(admin.get_by_text("was sent to Everyone.")).to_be_visible()

    await readers[0].locator("main").get_by_role("button", name="Mark read: Maintenance").click()
    row = admin.locator("#result_list tbody tr")
    for column, count in ((".field-read", "1"), (".field-reached", "2")):
        await _until(admin, row.locator(column), count)


async def test_only_the_fields_for_the_chosen_audience_and_time_are_shown(
    server: StartServer, people: People
) -> None:
    site = server()
    admin = await people.log_in(site.url, "admin")
    await admin.goto(f"{site.url}/admin/notifications/broadcast/add/")
    group, topic, time = (admin.locator(f"#id_{name}") for name in ("group", "topic", "publish_at"))
    for field in (group, topic, time):
        await expect(field).to_be_hidden()
    await admin.get_by_label("A group").check()
    await expect(group).to_be_visible()
    await admin.get_by_label("A topic").check()
    await expect(group).to_be_hidden()
    await topic.fill("releases")
    await admin.get_by_label("At a time").check()
    await time.fill("2999-12-31T18:00")
    await admin.get_by_label("Title").fill("Release 3")
    await press(admin, "Preview")
    await expect(admin.locator(".notifications-summary")).to_contain_text("Topic releases")
    await press(admin, "Edit")
    await expect(topic).to_have_value("releases")
    await expect(time).to_have_value("2999-12-31T18:00")
    await press(admin, "Preview")
    await press(admin, "Schedule")
    await expect(admin.locator("#result_list")).to_contain_text("until Dec. 31, 2999, 6 p.m.")


async def test_an_administrator_disconnects_a_user_for_good(
    server: StartServer, people: People
) -> None:
    site = server()
    reader = await people.log_in(site.url, "reader")
    await connected(reader)
    admin = await people.log_in(site.url, "admin")
    await admin.goto(f"{site.url}/admin/notifications/connection/?q=reader")
    row = admin.locator("#result_list tbody tr")
    # The list updates itself.
    await expect(row).to_have_count(1, timeout=10_000)
    await expect(row).to_contain_text("127.0.0.1")
    await expect(row).to_contain_text("Chrome")

    await row.get_by_role("checkbox").check()
    await admin.locator("select[name=action]").select_option("disconnect")
    await press(admin, "Go")
    await expect(admin.get_by_text("1 connection is being closed.")).to_be_visible()
    await expect(bell(reader)).to_have_attribute("title", re.compile("reload the page"))
    await expect(row).to_have_count(0, timeout=10_000)


async def test_selected_users_get_a_notification(server: StartServer, people: People) -> None:
    site = server()
    reader, writer = [await people.log_in(site.url, name) for name in ("reader", "writer")]
    for page in (reader, writer):
        await connected(page)
    admin = await people.log_in(site.url, "admin")
    await admin.goto(f"{site.url}/admin/auth/user/")
    await admin.locator("tr", has_text="reader").get_by_role("checkbox").check()
    await admin.locator("select[name=action]").select_option("send_notification")
    await press(admin, "Go")
    await admin.get_by_label("Title").fill("Only for you")
    await press(admin, "Preview")
    await expect(admin.locator(".notifications-summary")).to_contain_text("reader 1 user now")
    await press(admin, "Send")
    await expect(toasts(reader)).to_contain_text("Only for you")
    await expect(admin.get_by_text("A notification was sent to 1 user.")).to_be_visible()
    await expect(toasts(writer)).to_have_count(0)


async def test_admin_pages_fit_a_phone(server: StartServer, people: People) -> None:
    site = server()
    admin = await people.log_in(site.url, "admin", viewport={"width": 390, "height": 800})
    await admin.goto(f"{site.url}/admin/notifications/broadcast/add/")
    await _fits(admin)
    await admin.get_by_label("Title").fill("x" * 200)
    await press(admin, "Preview")
    await expect(toasts(admin)).to_be_visible()
    await _fits(admin)


async def _fits(page: Page) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def _until(page: Page, cell, text: str) -> None:
    """Reload until the cell has this text: acknowledgements are written in batches."""
    for _ in range(60):
        if await cell.inner_text() == text:
            return
        await page.wait_for_timeout(250)
        await page.reload()
    await expect(cell).to_have_text(text)

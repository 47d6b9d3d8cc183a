"""Pages in special conditions: no JavaScript, a URL prefix, a strict policy, a locale, a phone."""

import re
from collections.abc import Callable

import pytest
from playwright.async_api import expect

from tests.browser.strict_policy import POLICY
from tests.browser.test_live import badge, bell, connected, send, toasts
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]


async def test_everything_works_without_javascript(server: StartServer, people: People) -> None:
    site = server()
    send(site, 'for number in range(21): notify(reader, f"Number {number}")')
    page = await people.log_in(site.url, "reader", java_script_enabled=False)
    await expect(badge(page)).to_have_text("21")
    await page.get_by_role("link", name="Notifications, 21 unread").click()
    rows = page.locator("main li")
    await expect(rows).to_have_count(20)

    await page.get_by_role("button", name="Mark read: Number 20").click()
    await expect(badge(page)).to_have_text("20")
    await page.get_by_role("button", name="Archive: Number 19").click()
    await expect(badge(page)).to_have_text("19")
    await expect(rows.first).to_contain_text("Number 20")
    await expect(rows.nth(1)).to_contain_text("Number 18")
    await page.get_by_role("button", name="Mark all as read").click()
    await expect(badge(page)).to_be_hidden()
    await page.get_by_role("link", name="Archived").click()
    await expect(rows).to_have_count(1)
    await page.get_by_role("button", name="Mark unread: Number 19").click()
    await expect(rows).to_have_count(0)
    await expect(badge(page)).to_have_text("1")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_a_message_sent_without_javascript_arrives_live(
    server: StartServer, people: People
) -> None:
    site = server()
    reader = await people.log_in(site.url, "reader")
    await connected(reader)
    writer = await people.log_in(site.url, "writer", java_script_enabled=False)
    form = writer.locator("form", has=writer.get_by_role("button", name="Send message"))
    await form.get_by_label("Recipient").fill("reader")
    await form.get_by_label("Title").fill("Lunch?")
    await form.get_by_label("Link").fill("javascript:alert(1)")
    await form.get_by_role("button").click()
    await expect(form.get_by_text("A link must be a path on this site")).to_be_visible()
    await expect(form.get_by_label("Title")).to_have_value("Lunch?")
    await form.get_by_label("Link").fill("")
    await form.get_by_role("button").click()
    await expect(writer.get_by_text("Sent.")).to_be_visible()
    await expect(toasts(reader)).to_contain_text("Lunch?")


async def test_the_site_works_below_a_prefix(server: StartServer, people: People) -> None:
    site = server(SCRIPT_NAME="/push")
    page = await people.log_in(site.url, "reader")
    await connected(page)
    send(site, 'notify(reader, "Shipped")')
    await expect(toasts(page)).to_contain_text("Shipped")
    await bell(page).click()
    panel = page.get_by_role("dialog")
    await panel.get_by_role("button", name="Mark read: Shipped").click()
    await expect(badge(page)).to_be_hidden()
    await panel.get_by_role("link", name="See all").click()
    await page.wait_for_url(f"{site.url}/notifications/")
    await expect(page.locator("main li")).to_have_count(1)


async def test_pages_work_under_the_strictest_content_security_policy(
    server: StartServer, people: People
) -> None:
    site = server(DJANGO_SETTINGS_MODULE="tests.browser.strict_settings")
    page = await people.log_in(site.url, "reader")
    answer = await page.reload()
    assert answer is not None
    assert answer.headers["content-security-policy"] == POLICY
    await connected(page)
    send(site, 'notify(reader, "Shipped", url="/x/", body="Today")')
    await expect(toasts(page)).to_contain_text("Shipped")
    await bell(page).click()
    # Violations of the policy are logged to the console, which fails the test.
    await expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_count(1)


#: Creates notifications whose ids are formatted with separators.
HIGH_IDS = """
from notifications.models import Notification
notify(reader, "The first")
row = Notification.objects.get()
Notification.objects.filter(pk=row.pk).delete()
row.pk = 1_234_567
row.save(force_insert=True)
notify(reader, "One", url="/notifications/archived/")
for title in ("Two", "Three"): notify(reader, title)
"""


@pytest.mark.parametrize("has_script", [True, False])
async def test_buttons_and_links_work_if_numbers_are_formatted_with_separators(
    server: StartServer, people: People, has_script: bool
) -> None:
    site = server(DJANGO_SETTINGS_MODULE="tests.browser.german_settings")
    send(site, HIGH_IDS)
    page = await people.log_in(site.url, "reader", java_script_enabled=has_script, locale="de-DE")
    if has_script:
        await connected(page)
    await page.goto(f"{site.url}/notifications/unread/")
    rows = page.locator("main li")
    await expect(rows).to_have_count(4)
    await page.get_by_role("button", name="Als gelesen markieren: Three").click()
    await expect(rows).to_have_count(3)
    await page.get_by_role("button", name="Archivieren: Two").click()
    await expect(rows).to_have_count(2)
    await page.get_by_role("link", name="One", exact=True).click()
    await expect(page).to_have_url(f"{site.url}/notifications/archived/")
    await expect(rows).to_have_count(1)
    await expect(badge(page)).to_have_text("1" if has_script else "2")


@pytest.mark.parametrize("address", ["/", "/notifications/"])
async def test_pages_do_not_scroll_sideways_on_a_phone(
    server: StartServer, people: People, address: str
) -> None:
    site = server()
    long = "W" * 180
    send(site, f'notify(reader, "{long}", body="{long}")')
    page = await people.log_in(site.url, "reader", viewport={"width": 360, "height": 640})
    await page.goto(f"{site.url}{address}")
    await connected(page)
    send(site, f'notify(reader, "{long}", body="{long}")')
    # One or two: the previous page may not have acknowledged the first one before it was left.
    await expect(toasts(page).first).to_be_visible()
    await bell(page).click()
    await expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_count(2)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    panel = await page.get_by_role("dialog").bounding_box()
    assert panel is not None
    assert panel["x"] >= 0
    assert panel["x"] + panel["width"] <= 360


async def test_the_bell_element_replaces_the_link_without_a_layout_shift(
    server: StartServer, people: People
) -> None:
    site = server()
    send(site, 'notify(reader, "One")')
    plain = await people.log_in(site.url, "reader", java_script_enabled=False)
    before = await plain.locator(".notification-bell__button").bounding_box()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    assert await bell(page).bounding_box() == before


async def test_the_hashed_module_of_the_page_and_the_plain_module_are_one(
    server: StartServer, people: People
) -> None:
    """In production, static files also have hashed names; both names share one connection."""
    site = server()
    page = await people.log_in(site.url, "reader")
    await connected(page)
    assert re.search(r"index\.[0-9a-f]+\.js", await page.content())
    same = await page.evaluate(
        """async () => {
          const plain = await import("/static/notifications/index.js");
          const page = await import(document.querySelector("script[type=module]").src);
          return plain.notifications === page.notifications;
        }"""
    )
    assert same is True
    assert await page.evaluate("document.querySelectorAll('.notification-toasts').length") == 1

"""The pages and what JavaScript adds to them, in other languages and from right to left."""

from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, ViewportSize, expect

from tests.browser.test_live import bell, connected, send, toasts
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

PAGES = ("/", "/notifications/", "/notifications/topics/")

PHONE: ViewportSize = {"width": 360, "height": 700}
DESKTOP: ViewportSize = {"width": 1100, "height": 700}

#: Rows with texts in both directions, and more than one page of them.
ROWS = """
from django.contrib.auth import get_user_model
writer = get_user_model().objects.get(username="writer")
for number in range(21):
    notify([reader, writer], f"تم شحن طلبك {number}", body="It has shipped!", url="/notifications/")
"""


async def is_inside(page: Page, element: Locator) -> None:
    """Check that the whole width of an element is in the window."""
    box = await element.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= await page.evaluate("document.documentElement.clientWidth")


async def scrolls_sideways(page: Page) -> bool:
    return bool(
        await page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
    )


async def test_bell_and_toasts_are_in_arabic_and_in_the_window(
    server: StartServer, people: People
) -> None:
    site = server()
    send(site, "for number in range(2): notify(reader, f'One {number}')")
    page = await people.log_in(site.url, "reader", locale="ar", viewport=PHONE)
    await connected(page)
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(bell(page)).to_have_attribute("aria-label", "الإشعارات، إشعاران غير مقروءين")
    send(site, 'notify(reader, "Shipped!", body="(today)", level="success")')
    toast = toasts(page).filter(has_text="Shipped!")
    await expect(toast).to_contain_text("نجاح")
    await expect(bell(page)).to_have_attribute("aria-label", "الإشعارات، 3 إشعارات غير مقروءة")
    for size in (PHONE, DESKTOP):
        await page.set_viewport_size(size)
        await is_inside(page, toast)
        box = await toast.bounding_box()
        assert box is not None
        assert box["x"] < 20  # in the corner where lines end
    await toast.get_by_role("button", name="إغلاق").click()
    await bell(page).click()
    panel = page.get_by_role("dialog", name="الإشعارات")
    row = panel.get_by_role("listitem").first
    await expect(row.locator("time")).to_have_text("الآن")
    await expect(row.get_by_role("button", name="تمييز كمقروء: Shipped!")).to_be_visible()
    for size in (DESKTOP, PHONE):
        await page.set_viewport_size(size)
        await is_inside(page, panel)
        assert not await scrolls_sideways(page)
    # A text in the other direction keeps its own, and begins on the side of the page.
    style = "element => [getComputedStyle(element).direction, getComputedStyle(element).textAlign]"
    assert await row.locator("[data-part=body]").evaluate(style) == ["ltr", "right"]
    assert (await row.locator("[data-part=title]").evaluate(style))[0] == "ltr"


async def test_a_backlog_is_counted_in_the_grammar_of_the_language(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader", locale="ar")
    await page.goto(f"{site.url}/notifications/?before=")
    await connected(page)
    send(site, "for number in range(11): notify(reader, f'One {number}')")
    await expect(toasts(page).last).to_contain_text("11 إشعارًا جديدًا")


async def test_no_page_scrolls_sideways_on_a_phone_in_any_language(
    server: StartServer, people: People
) -> None:
    site = server(NOTIFICATIONS_TOPICS="news,a-topic-with-a-rather-long-name")
    send(site, ROWS)
    page = await people.log_in(site.url, "writer", java_script_enabled=False, viewport=PHONE)
    wide = []
    for language in ("ar", "de", "es", "fr", "zh-hans"):
        await page.set_extra_http_headers({"Accept-Language": language})
        for path in PAGES:
            await page.goto(f"{site.url}{path}")
            await expect(page.locator("html")).to_have_attribute("lang", language)
            if await scrolls_sideways(page):
                wide.append((language, path))
    assert wide == []


async def test_without_javascript_everything_can_be_done_in_arabic(
    server: StartServer, people: People
) -> None:
    site = server(NOTIFICATIONS_TOPICS="news")
    send(site, ROWS)
    page = await people.log_in(site.url, "reader", locale="ar", java_script_enabled=False)
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await page.get_by_role("link", name="الإشعارات، 21 إشعارًا غير مقروء").click()
    await page.get_by_role("link", name="الأقدم").click()
    await page.get_by_role("button", name="أرشفة: تم شحن طلبك 0").click()
    await page.get_by_role("link", name="المؤرشف").click()
    await expect(page.locator("main li")).to_have_count(1)
    await expect(page.locator("main time")).to_contain_text("منذ")
    await page.get_by_role("link", name="الموضوعات").click()
    await page.get_by_role("button", name="إلغاء المتابعة: news").click()
    await expect(page.get_by_text("لم تعد تتابع «news».")).to_be_visible()


async def test_a_language_is_chosen_at_the_foot_of_a_page(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader")
    await page.goto(f"{site.url}/notifications/unread/")
    await page.get_by_label("Language").select_option("Deutsch")
    await page.get_by_role("button", name="Change language").click()
    await expect(page).to_have_url(f"{site.url}/notifications/unread/")
    await expect(page.get_by_role("heading", name="Posteingang")).to_be_visible()
    await connected(page)
    send(site, 'notify(reader, "Shipped", level="warning")')
    await expect(toasts(page)).to_contain_text("Warnung")
    await expect(bell(page)).to_have_attribute("aria-label", "Benachrichtigungen, 1 ungelesen")
    await expect(page.locator("main time")).to_have_text("jetzt")

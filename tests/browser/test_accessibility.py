"""What axe says about the app's pages, and what of them a phone has room for.

The pages of Django's admin and of Swagger UI are judged by what is the app's own in them.
"""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_live import bell, connected, send, toasts
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()

#: The violations of all rules, and of the one about small targets, which is off by default.
RUN = """
async () => {
  const rules = { "target-size": { enabled: true } };
  const { violations } = await axe.run(document, { resultTypes: ["violations"], rules });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}
"""

#: A toast that fades in has less contrast, and may come at any moment: nothing fades here.
STILL = {"reduced_motion": "reduce"}
PHONE = {**STILL, "viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}
SIDEWAYS = {**PHONE, "viewport": {"width": 740, "height": 360}}
DESKTOP = {**STILL, "viewport": {"width": 1280, "height": 800}}

SEND = """
for level in ("debug", "info", "success", "warning", "error"):
    notify(reader, f"A title of level {level} that needs two lines", body="Today", level=level)
notify(reader, "W" * 120, url="/notifications/")
"""

WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"


async def expect_accessible(page: Page) -> None:
    await page.evaluate(AXE)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert await page.evaluate(RUN) == []
    needed, there = await page.evaluate(WIDTHS)
    assert needed <= there


@pytest.mark.parametrize("size", [PHONE, SIDEWAYS, DESKTOP], ids=["phone", "sideways", "desktop"])
async def test_axe_finds_nothing_in_the_pages_of_the_app(
    server: StartServer, people: People, size: dict[str, Any]
) -> None:
    site = server(NOTIFICATIONS_TOPICS="news,tips")
    send(site, SEND)
    page = await people.open(**size)
    await page.goto(f"{site.url}/accounts/login/")
    await expect_accessible(page)
    await page.fill("input[name=username]", "reader")
    await page.fill("input[name=password]", "reader")
    await page.press("input[name=password]", "Enter")
    for path in ("/", "/notifications/", "/notifications/archived/", "/notifications/topics/"):
        await page.goto(f"{site.url}{path}")
        await connected(page)
        await expect_accessible(page)
    send(site, 'notify(reader, "New", level="error")')
    await expect(toasts(page).last).to_contain_text("New")
    await expect_accessible(page)
    await bell(page).click()
    await expect(page.get_by_role("dialog").get_by_role("listitem").first).to_be_visible()
    panel = await page.get_by_role("dialog").bounding_box()
    assert panel is not None
    assert panel["y"] + panel["height"] <= size["viewport"]["height"]
    # It does not lie behind toasts.
    await page.get_by_role("dialog").get_by_role("link", name="See all").click(timeout=3000)
    await page.wait_for_url(f"{site.url}/notifications/")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_a_long_title_does_not_push_the_other_columns_out_of_the_admin(
    server: StartServer, people: People, size: dict[str, Any]
) -> None:
    site = server()
    send(site, SEND)
    page = await people.log_in(site.url, "admin", **size)
    await page.goto(f"{site.url}/admin/notifications/notification/")
    last = (
        page.locator("#result_list tbody tr").first.locator("td").nth(-1 if size is DESKTOP else 1)
    )
    box = await last.bounding_box()
    assert box is not None
    assert box["x"] + 30 < size["viewport"]["width"]


async def test_the_page_of_the_rest_api_fits_a_phone_and_names_its_language(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.log_in(site.url, "reader", **PHONE)
    await page.goto(f"{site.url}/notifications/api/v1/docs")
    await expect(page.get_by_text("List notifications", exact=True)).to_be_visible()
    assert await page.evaluate(WIDTHS) == [360, 360]
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.get_by_role("main")).to_contain_text("Mark all notifications as read")

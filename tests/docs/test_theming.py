"""The style sheet in the guide to colours wins over the app's own."""

from collections.abc import Callable

import pytest
from playwright.async_api import Page

from tests.browsers import People
from tests.docs.blocks import blocks_of
from tests.servers import Server
from tests.sites import ROOT

TOASTS = "notification-toasts"

#: Puts a style sheet before all others, where it is the weakest.
PUT_FIRST = """
(text) => {
  const style = document.createElement("style");
  style.textContent = text;
  document.head.prepend(style);
}
"""
ACCENT = """
(selector) => getComputedStyle(document.querySelector(selector))
  .getPropertyValue("--notifications-accent")
"""


async def accents(page: Page) -> set[str]:
    """The colour as the bell and the toasts have it."""
    return {await page.evaluate(ACCENT, part) for part in (".notification-bell", TOASTS)}


@pytest.mark.browser
@pytest.mark.integration
async def test_colours_of_a_site_win_wherever_its_style_sheet_is_loaded(
    server: Callable[..., Server], people: People
) -> None:
    blocks = blocks_of(ROOT / "docs" / "howto" / "theming.md")
    (sheet,) = [block.source for block in blocks if block.language == "css"]
    # The site's own policy forbids the style element of the test.
    page = await people.log_in(server().url, "reader", bypass_csp=True)
    await page.wait_for_selector(TOASTS, state="attached")
    await page.evaluate(PUT_FIRST, sheet)
    await page.emulate_media(color_scheme="light")
    assert await accents(page) == {"#0f766e"}
    await page.emulate_media(color_scheme="dark")
    assert await accents(page) == {"#5eead4"}

"""The bell and the pages under a policy under which only what carries a nonce may run."""

from collections.abc import Callable

import pytest
from playwright.async_api import expect

from tests.browser.test_live import bell, connected, send, toasts
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]


async def test_everything_works_under_a_policy_of_nonces_and_strict_dynamic(
    server: StartServer, people: People
) -> None:
    site = server(
        DJANGO_SETTINGS_MODULE="tests.browser.nonce_settings", NOTIFICATIONS_TOPICS="news"
    )
    page = await people.log_in(site.url, "reader")
    for path in ("/", "/notifications/", "/notifications/topics/"):
        response = await page.goto(f"{site.url}{path}")
        assert response is not None
        policy = response.headers["content-security-policy"]
        assert "script-src 'nonce-" in policy
        assert "'strict-dynamic'" in policy
        # The modules that the tag's module imports have been loaded, too.
        await connected(page)
    send(site, 'notify(reader, "Live", level="success")')
    await expect(toasts(page)).to_contain_text("Live")
    radius = "getComputedStyle(document.querySelector('.notification-toast')).borderTopLeftRadius"
    assert await page.evaluate(radius) == "12px"
    await bell(page).click()
    await page.get_by_role("dialog").get_by_role("button", name="Mark read: Live").click()
    await expect(page.get_by_role("dialog")).to_contain_text("You are all caught up.")
    # What is refused is an error in the console.
    assert people.errors == []

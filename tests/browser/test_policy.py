"""All pages of the site and of the admin, under the site's Content Security Policy."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.urls import Resolver404, resolve
from playwright.async_api import Page, expect

from tests.browser.test_live import bell, connected, send, toasts
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

#: Logs violations in a fixed format, because Chromium's own messages vary.
REPORT = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`violation: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""

#: Creates rows for the lists of the admin.
ROWS = """
from axes.models import AccessAttempt
from django.contrib.auth.models import Group
from django.utils import timezone
Group.objects.create(name="crew")
AccessAttempt.objects.create(
    username="x", ip_address="192.0.2.1", user_agent="y", failures_since_start=1,
)
broadcast("To all", body="text", url="/notifications/")
notify(get_user_model().objects.get(username="admin"), "To you", url="https://a.example/")
"""


async def visit_all(page: Page, url: str) -> set[str]:
    """Follow the links of the site, to one page of each view.

    Returns:
        The names of the views.
    """
    waiting, seen = [f"{url}/", f"{url}/admin/"], set()
    while waiting:
        address = waiting.pop(0)
        try:
            view = resolve(urlsplit(address).path).view_name
        except Resolver404:
            continue
        if view in seen:
            continue
        seen.add(view)
        await page.goto(address)
        assert await page.title(), address
        links = await page.eval_on_selector_all("a[href]", "links => links.map(a => a.href)")
        waiting += [link for link in links if link.startswith(f"{url}/") and "#" not in link]
    return seen


async def test_no_page_violates_the_policy(server: StartServer, people: People) -> None:
    site = server(NOTIFICATIONS_TOPICS="news", NOTIFICATIONS_WORKERS="1")
    send(site, ROWS)
    page = await people.log_in(site.url, "admin")
    await page.context.add_init_script(REPORT)
    views = await visit_all(page, site.url)
    assert {"home", "notifications:all", "notifications:archived", "notifications:topics"} <= views
    models = ("auth_user", "auth_group", "notifications_broadcast", "axes_accessattempt")
    for model in models:
        assert {f"admin:{model}_changelist", f"admin:{model}_change"} <= views
    assert {"admin:auth_user_delete", "admin:auth_user_history"} <= views
    assert {"admin:notifications_connection_changelist", "admin:password_change"} <= views
    assert people.errors == []


async def test_actions_on_the_pages_work_under_the_policy(
    server: StartServer, people: People
) -> None:
    site = server(NOTIFICATIONS_TOPICS="news", NOTIFICATIONS_WORKERS="1")
    page = await people.log_in(site.url, "admin")
    await page.context.add_init_script(REPORT)
    await page.goto(f"{site.url}/")
    await connected(page)
    send(site, 'notify(get_user_model().objects.get(username="admin"), "Live", url="/")')
    await expect(toasts(page)).to_contain_text("Live")
    await bell(page).click()
    await page.get_by_role("dialog").get_by_role("button", name="Mark read: Live").click()
    await page.goto(f"{site.url}/admin/notifications/broadcast/add/")
    await page.get_by_label("Title").fill("To all")
    await page.get_by_role("button", name="Preview", exact=True).click()
    await expect(page.locator(".notifications-previews")).to_be_visible()
    await page.goto(f"{site.url}/admin/auth/user/")
    await page.locator("#action-toggle").check()
    await expect(page.locator(".action-counter")).to_contain_text("3 of 3 selected")
    await page.get_by_role("link", name="reader").click()
    await page.locator("#id_user_permissions_from option").first.dblclick()
    await page.get_by_role("link", name="Today").last.click()
    async with page.expect_popup() as popup:
        await page.locator("#add_id_groups").click()
    added = await popup.value
    await added.get_by_label("Name").fill("crew")
    await added.get_by_role("button", name="Save").click()
    await expect(page.locator("#id_groups_to")).to_contain_text("crew")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("was changed successfully")).to_be_visible()
    assert people.errors == []


async def test_the_error_pages_are_shown_with_their_style(
    server: StartServer, people: People
) -> None:
    site = server(LOGIN_FAILURES="1")
    page = await people.open()
    await page.add_init_script(REPORT)
    login = f"{site.url}/accounts/login/"
    await page.goto(login)
    await _submit(page, "admin", "wrong")
    await _is_shown(page, "Too many attempts")
    await page.goto(login)
    await page.context.clear_cookies()
    await _submit(page, "reader", "reader")
    await _is_shown(page, "Please try again")
    await page.goto(login)
    await _submit(page, "reader", "reader")
    await page.goto(f"{site.url}/nope")
    await _is_shown(page, "There is no such page")
    send(
        site,
        'from django.db import connection as c; c.cursor().execute("DROP TABLE django_session")',
    )
    await page.goto(f"{site.url}/")
    await _is_shown(page, "Something went wrong")
    for machine in ("/metrics", "/health/"):
        await page.goto(f"{site.url}{machine}")
    # Each error status is logged to the console; nothing else may be logged.
    refused = re.compile(r"Failed to load resource: the server responded with a status of \d+")
    assert [error for error in people.errors if not refused.match(error)] == []
    people.errors.clear()


async def test_code_injected_into_a_page_does_not_run(server: StartServer, people: People) -> None:
    """The violations are logged, so that the tests above would notice them."""
    site = server()
    page = await people.log_in(site.url, "reader")
    await page.context.add_init_script(REPORT)
    await page.goto(f"{site.url}/")
    await page.evaluate(
        """() => {
          document.body.insertAdjacentHTML("beforeend", `<img src="https://evil.example/x.png">
            <b style="color: red" onclick="window.ran = true">x</b><i></i>
            <a href="javascript:window.ran = true">y</a>`);
          document.querySelector("b:last-of-type").click();
          document.querySelector("a[href^=javascript]").click();
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
        }"""
    )
    directives = {"img-src", "style-src-attr", "script-src-attr", "script-src-elem"}
    while not all(
        any(f"violation: {name}" in error for error in people.errors) for name in directives
    ):
        await page.wait_for_event("console")
    assert await page.evaluate("window.ran") is None
    people.errors.clear()


async def _submit(page: Page, name: str, password: str) -> None:
    await page.fill("input[name=username]", name)
    await page.fill("input[name=password]", password)
    await page.press("input[name=password]", "Enter")
    await page.wait_for_load_state()


async def _is_shown(page: Page, heading: str) -> None:
    await expect(page.get_by_role("heading", name=heading)).to_be_visible()
    is_styled = "getComputedStyle(document.querySelector('.page')).maxWidth !== 'none'"
    assert await page.evaluate(is_styled), heading

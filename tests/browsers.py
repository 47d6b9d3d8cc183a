"""Chromium for tests, driven by Playwright's asynchronous API.

The synchronous API keeps an event loop running in the main thread. Neither asynchronous tests nor
Django's ORM work in a thread with a running loop.
"""

import os
import shutil
import time
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page

#: As in ``scripts/chromium``.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    # Chromium must only talk to the server under test.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Milliseconds that a test waits for something in a page before it fails.
TIMEOUT = 15_000


def find_chromium() -> str:
    """Return the path of Chromium: ``CHROMIUM``, or the first of ``NAMES`` on PATH.

    ``scripts/chromium`` installs it where that is possible.

    Raises:
        AssertionError: Chromium is missing. The test must fail and not be skipped unnoticed.
    """
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "Chromium is needed: install it (apt-get install chromium) or set CHROMIUM"
    return found


async def until(page: Page, expression: str, patience: float = TIMEOUT) -> None:
    """Wait until an expression is true in a page, even if the page navigates meanwhile.

    Playwright's ``wait_for_function`` evaluates a string in the page, which the site's Content
    Security Policy forbids.

    Args:
        expression: a JavaScript expression or function.
        patience: milliseconds.
    """
    deadline = time.monotonic() + patience / 1000
    while True:
        try:
            if await page.evaluate(expression):
                return
            problem = "it is false"
        except Error as error:  # the page is navigating
            problem = str(error)
        assert time.monotonic() < deadline, f"{expression}: {problem}"
        await page.wait_for_timeout(50)


class People:
    """Opens browser windows for the users of a test, each with its own cookies."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        #: Errors and warnings from the consoles of all windows. A test that causes some on purpose
        #: clears the list; any that are left at the end fail the test.
        self.errors: list[str] = []

    async def open(self, **options: Any) -> Page:
        """Open a window.

        Args:
            options: passed to ``Browser.new_context``, such as ``viewport`` or ``color_scheme``.
        """
        context = await self._browser.new_context(**options)
        context.set_default_timeout(TIMEOUT)
        self._contexts.append(context)
        context.on("console", self._note)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        return await context.new_page()

    async def log_in(self, url: str, username: str, **options: Any) -> Page:
        """Open a window and log in with one of the demo accounts.

        Args:
            url: the site's URL, without a trailing slash.
            username: name of the account, which is also its password.
            options: as for :meth:`open`.
        """
        page = await self.open(**options)
        await page.goto(f"{url}/accounts/login/")
        await page.fill("input[name=username]", username)
        await page.fill("input[name=password]", username)
        await page.press("input[name=password]", "Enter")
        await page.wait_for_url(lambda address: "/accounts/login/" not in address)
        return page

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()
        assert not self.errors, f"the console complained: {self.errors}"

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.text} ({message.location['url']})")

"""Chromium for tests, by the asynchronous API of Playwright.

The synchronous one keeps an event loop running in the main thread, in which neither asynchronous
tests nor Django's ORM work any more.
"""

import os
import shutil
import time
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    # It shall talk to the server under test only.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Milliseconds after which a page that does not do what a test waits for fails it.
TIMEOUT = 15_000


def find_chromium() -> str:
    """Find the program; scripts/chromium installs it and sets ``CHROMIUM``.

    Raises:
        AssertionError: there is none, so that the test fails instead of passing unseen.
    """
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "Chromium is needed: install it (apt-get install chromium) or set CHROMIUM"
    return found


async def until(page: Page, expression: str, patience: float = TIMEOUT) -> None:
    """Wait until something is true in a page, whatever page that is meanwhile.

    Playwright's own ``wait_for_function`` compiles text in the page, which the policy forbids.

    Args:
        expression: JavaScript, or a function.
        patience: milliseconds.
    """
    deadline = time.monotonic() + patience / 1000
    while True:
        try:
            if await page.evaluate(expression):
                return
            problem = "it is not"
        except Error as error:  # the page is just being left
            problem = str(error)
        assert time.monotonic() < deadline, f"{expression}: {problem}"
        await page.wait_for_timeout(50)


class People:
    """Opens a browser window for each person of a test, with cookies of their own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        #: What the consoles of all windows complained of. A test that breaks something on purpose
        #: clears it; what is left at the end fails the test.
        self.errors: list[str] = []

    async def open(self, **options: Any) -> Page:
        """Open a window.

        Args:
            options: as for ``Browser.new_context``, such as ``viewport`` or ``color_scheme``.
        """
        context = await self._browser.new_context(**options)
        context.set_default_timeout(TIMEOUT)
        self._contexts.append(context)
        context.on("console", self._note)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        return await context.new_page()

    async def log_in(self, url: str, username: str, **options: Any) -> Page:
        """Open a window and log one of the demo accounts in.

        Args:
            url: of the site, without a slash at the end.
            username: also the password.
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

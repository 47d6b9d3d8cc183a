"""Requests of several devices of one user, in real browsers on a real server."""

import json
from collections.abc import Callable

import pytest
from playwright.async_api import Page, WebSocket, expect

from tests.browser.test_live import badge, connected, send
from tests.browser.test_shells import rows
from tests.browsers import People
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]


class ProcedureCalls:
    """Records the procedures that a page calls over sockets it opens from now on."""

    def __init__(self, page: Page) -> None:
        self.methods: list[str] = []
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framesent", self._note)

    def _note(self, frame: str | bytes) -> None:
        commands = [json.loads(line) for line in frame.splitlines()]
        self.methods += [one["rpc"]["method"] for one in commands if "rpc" in one]


async def test_a_read_on_one_device_updates_the_others_without_a_request(
    server: StartServer, people: People
) -> None:
    site = server()
    send(site, 'for number in range(12): notify(reader, f"Number {number}")')
    first = await people.log_in(site.url, "reader")
    second = await people.log_in(site.url, "reader")
    await connected(second)
    calls = ProcedureCalls(second)
    await second.reload()
    for page in (first, second):
        await connected(page)
        await expect(rows(page)).to_have_count(5)
    calls.methods.clear()

    for left, number in ((11, 11), (10, 10)):
        await first.get_by_role("button", name=f"Mark read: Number {number}", exact=True).click()
        await expect(badge(second)).to_have_text(str(left))
        # The device that marks one as read refills its own list.
        await expect(rows(first)).to_have_count(5)
    await expect(rows(second)).to_have_count(3)
    # When most of its list has been read elsewhere, the other device asks once for more.
    await first.get_by_role("button", name="Mark read: Number 9", exact=True).click()
    await expect(rows(second)).to_have_count(5)
    await expect(badge(second)).to_have_text("9")
    assert [method for method in calls.methods if method != "ack"] == ["inbox"]

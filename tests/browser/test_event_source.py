"""EventSource, as browsers have it, needs no client library and keeps its own position."""

from collections.abc import Callable

import pytest

from tests.browser.test_live import send
from tests.browsers import People, until
from tests.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.integration]

StartServer = Callable[..., Server]

#: An application that drops nothing: whatever comes twice is listed twice.
LISTEN = """
() => {
  window.titles = [];
  window.states = [];
  const source = new EventSource("/connection/uni_sse");
  source.onerror = () => window.states.push(source.readyState);
  source.onmessage = (event) => {
    const message = JSON.parse(event.data);
    for (const result of Object.values(message.connect?.subs ?? {})) {
      window.titles.push(...(result.publications ?? []).map((each) => each.data.title));
    }
    if (message.connect) { window.connects = (window.connects ?? 0) + 1; }
    if (message.pub) { window.titles.push(message.pub.data.title); }
  };
}
"""


async def test_an_event_source_resumes_by_itself_where_it_was(
    server: StartServer, people: People
) -> None:
    site = server(NOTIFICATIONS_CHECK_INTERVAL="0.2")
    page = await people.log_in(site.url, "reader")
    await page.evaluate(LISTEN)
    await until(page, "window.connects === 1")
    send(site, 'notify(reader, "one")\nnotify(reader, "two")\nbroadcast("all")')
    await until(page, "titles.length === 3")
    site.kill()
    send(site, 'notify(reader, "three")\nnotify(reader, "four")')
    site.start()
    await until(page, "window.connects === 2")
    send(site, 'notify(reader, "five")')
    await until(page, "titles.length >= 6")
    titles = await page.evaluate("titles")
    assert sorted(titles[:3]) == ["all", "one", "two"]
    assert titles[3:] == ["three", "four", "five"]
    people.errors.clear()  # the connection to the killed server


async def test_an_event_source_that_may_not_connect_gives_up(
    server: StartServer, people: People
) -> None:
    site = server()
    page = await people.open()
    await page.goto(f"{site.url}/accounts/login/")
    await page.evaluate(LISTEN)
    await until(page, "states.length > 0")
    assert await page.evaluate("states") == [2], "CLOSED"
    assert any("401" in error for error in people.errors)
    people.errors.clear()

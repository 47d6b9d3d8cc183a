"""Pages of history for readers that are behind: what many have missed is read once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifications import broadcast
from notifications.database.lanes import in_database
from notifications.hub import Hub, LocalStream
from notifications.hub.delivery import pages as pages_module
from notifications.hub.delivery.pages import EncodedPage, Pages
from notifications.streams import evidence
from tests.hub.helpers import own
from tests.peers import Peer, running_hub, until
from tests.rooms import fill, make_old_users

pytestmark = pytest.mark.django_db(transaction=True)

MISSED = 230


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, PAGE_SIZE=10) as running:
        yield running


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions after which pages are read from now on."""
    found: list[int] = []

    def counting(stream_id: int, after: int, *rest: Any) -> Any:
        found.append(after)
        return evidence.read_on(stream_id, after, *rest)

    monkeypatch.setattr(pages_module, "read_on", counting)
    monkeypatch.setattr(pages_module, "KEPT_SECONDS", 60.0)
    return found


async def storm(users: list[Any]) -> list[Peer]:
    """Connect a client of each of these users at once."""
    peers = [await Peer.of(each) for each in users]
    await asyncio.gather(*(peer.connect() for peer in peers))
    return peers


async def gets_all(peer: Peer, top: int) -> None:
    """Wait until a client has everything up to this offset, each entry once and in order."""
    await until(lambda: len(peer.publications) >= top)
    assert [each.offset for each in peer.publications] == [*range(1, top + 1)]
    assert not peer.violations


async def test_the_clients_of_a_storm_share_the_pages_that_all_have_missed(
    hub: Hub, reads: list[int]
) -> None:
    users = await in_database(make_old_users, 12)
    await in_database(fill, "broadcast", MISSED)
    peers = await storm(users)
    for peer in peers:
        await gets_all(peer, MISSED)
    assert reads == [10, 110, 210]
    await in_database(broadcast, "the next one")
    for peer in peers:
        await gets_all(peer, MISSED + 1)


async def test_p1_a_page_that_was_kept_does_not_hide_what_came_later(
    hub: Hub, reads: list[int]
) -> None:
    users = await in_database(make_old_users, 3)
    await in_database(fill, "broadcast", MISSED)
    for peer in await storm(users):
        await gets_all(peer, MISSED)
        await peer.end()
    await in_database(broadcast, "the next one")
    for peer in await storm(users):
        await gets_all(peer, MISSED + 1)


async def page_of(pages: Pages, name: str, count: int) -> EncodedPage:
    """Read the first page of a stream with so many publications."""
    row = await in_database(fill, name, count)
    stream = LocalStream(name)
    stream.learn(row.pk, row.epoch, row.top, row.revision)
    return await pages.read(stream, 0, stream.seen())


@pytest.mark.usefixtures("reads")
async def test_p5_private_empty_and_large_pages_are_not_kept(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = Pages()
    assert len((await page_of(pages, own(user), 3)).pushes) == 3
    assert not (await page_of(pages, "broadcast", 0)).pushes
    assert not pages.kept
    monkeypatch.setattr(pages_module, "MAX_KEPT_SIZE", 10)
    assert len((await page_of(pages, "staff", 3)).pushes) == 3
    assert not pages.kept


async def test_p5_a_page_is_kept_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages()
    monkeypatch.setattr(pages_module, "MAX_KEPT", 1)
    await page_of(pages, "broadcast", 3)
    assert len((await page_of(pages, "staff", 3)).pushes) == 3
    assert len(pages.kept) == 1
    await until(lambda: not pages.kept)


@pytest.mark.usefixtures("reads")
async def test_p9_a_client_that_leaves_does_not_end_the_reading_for_others() -> None:
    row = await in_database(fill, "broadcast", 3)
    stream = LocalStream("broadcast")
    stream.learn(row.pk, row.epoch, row.top, row.revision)
    pages = Pages()
    leaves, stays = (asyncio.create_task(pages.read(stream, 0, stream.seen())) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    assert len((await stays).pushes) == 3
    assert leaves.cancelled()

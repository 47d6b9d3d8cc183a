"""Where a client resumes: after its position, after what its user acknowledged, or at the top."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from notifications import notify
from notifications.handlers.subscribing import subscribe_result
from notifications.models import Notification, Stream, Subscription
from notifications.protocol.json import JSON
from notifications.protocol.messages import ConnectResult, Reply
from notifications.streams import feeds as stream_feeds
from notifications.streams import recovery, subscriptions
from notifications.streams.feeds import Feed
from notifications.streams.history import CACHE_RANGES, CACHE_SECONDS, Page, Range, Recent
from notifications.streams.names import user_stream
from notifications.streams.positions import Position
from notifications.streams.recovery import Recovered, recover, recover_many
from tests.rooms import fill, make_old_users, queries

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def topics(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOPICS": [f"t{number}" for number in range(60)]}


@pytest.fixture
def user() -> Any:
    return make_old_users(1)[0]


def feed(user: Any, name: str = "broadcast", **changes: int) -> Feed:
    """The user's feed of a stream with ten publications, with these values."""
    if not Stream.objects.filter(name=name, top__gt=0).exists():
        fill(name, 10)
    stream_feeds.load_inboxes([user])
    Subscription.objects.filter(user=user, stream__name=name).update(**changes)
    (found,) = [f for f in stream_feeds.load_inboxes([user])[user.pk] if f.name == name]
    return found


def resume(entry: Feed, offset: int | None = None, epoch: str = "", limit: int = 300) -> Recovered:
    positions = {} if offset is None else {entry.name: Position(epoch or entry.epoch, offset)}
    (found,) = recover([entry], positions, limit)
    return found


def offsets(found: Recovered) -> list[int]:
    return [publication.offset for publication in found.page.publications]


def test_a_client_resumes_after_its_position(user: Any) -> None:
    found = resume(feed(user), 7)
    assert offsets(found) == [8, 9, 10]
    assert (found.asked, found.recovered, found.page.offset, found.page.more) == (
        True,
        True,
        10,
        False,
    )


def test_clients_that_need_the_same_page_share_what_is_in_their_replies(user: Any) -> None:
    entry = feed(user)
    position = {entry.name: Position(entry.epoch, 7)}
    whole, again, less = recover_many([([entry], position), ([entry], position), ([entry], {})], 5)
    assert [one.offset for one in whole[0].publications] == [8, 9, 10]
    assert list(map(id, whole[0].publications)) == list(map(id, again[0].publications))
    assert [one.offset for one in less[0].publications] == [1, 2, 3, 4, 5]


def test_a_position_at_the_top_gets_an_empty_page(user: Any) -> None:
    found = resume(feed(user), 10)
    assert (offsets(found), found.recovered, found.page.offset) == ([], True, 10)


@pytest.mark.parametrize(("offset", "epoch"), [(11, ""), (2**62, ""), (5, "other"), (0, "other")])
def test_an_invalid_position_is_not_recovered(user: Any, offset: int, epoch: str) -> None:
    found = resume(feed(user), offset, epoch)
    assert (offsets(found), found.asked, found.recovered) == ([], True, False)
    assert found.page.offset == 10


def resume_from_the_origin(entry: Feed) -> Recovered:
    (found,) = recover([entry], {entry.name: Position("", 0)}, 300)
    return found


def test_offset_0_without_an_epoch_is_the_beginning_of_any_history(user: Any) -> None:
    found = resume_from_the_origin(feed(user))
    assert (offsets(found), found.asked, found.recovered) == ([*range(1, 11)], True, True)


def test_p8_the_beginning_is_not_recovered_if_something_was_pruned(user: Any) -> None:
    Stream.objects.filter(pk=feed(user).stream_id).update(floor=1)
    found = resume_from_the_origin(feed(user))
    assert (offsets(found), found.asked, found.recovered) == ([], True, False)


def test_p6_the_beginning_is_not_recovered_if_the_user_joined_later(user: Any) -> None:
    found = resume_from_the_origin(feed(user, since=1))
    assert (offsets(found), found.asked, found.recovered) == ([], True, False)


def test_another_offset_without_an_epoch_is_not_recovered(user: Any) -> None:
    (found,) = recover([feed(user)], {"broadcast": Position("", 5)}, 300)
    assert (offsets(found), found.asked, found.recovered) == ([], True, False)


def test_a_position_below_pruned_entries_is_not_recovered(user: Any) -> None:
    Notification.objects.filter(offset__lte=4).delete()
    entry = feed(user)
    Stream.objects.update(floor=4)
    entry = feed(user)
    assert not resume(entry, 3).recovered
    assert offsets(resume(entry, 4)) == [5, 6, 7, 8, 9, 10]
    assert offsets(resume(entry)) == [*range(entry.floor + 1, 11)]


def test_without_a_position_a_client_resumes_after_the_acknowledged_offset(user: Any) -> None:
    found = resume(feed(user, delivered=6))
    assert offsets(found) == [7, 8, 9, 10]
    assert (found.asked, found.recovered) == (False, True)


def test_a_position_from_before_the_user_joined_is_not_recovered(user: Any) -> None:
    """A client that claims such a position gets nothing (P6), and ``recovered: false`` (P8)."""
    found = resume(feed(user, since=8, delivered=8), 0)
    assert (offsets(found), found.recovered) == ([], False)
    found = resume(feed(user, since=8, delivered=8), 8)
    assert (offsets(found), found.recovered) == ([9, 10], True)


def test_a_position_from_before_muting_is_not_recovered(user: Any) -> None:
    entry = feed(user, unmuted=6, delivered=6)
    assert not resume(entry, 5).recovered
    assert offsets(resume(entry, 6)) == [7, 8, 9, 10]
    assert offsets(resume(entry)) == [7, 8, 9, 10]


def test_a_delivered_mark_above_the_top_resumes_at_the_top(user: Any) -> None:
    found = resume(feed(user, delivered=12))
    assert (offsets(found), found.page.offset) == ([], 10)


def test_a_position_above_the_top_is_counted(user: Any) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("notifications_positions_ahead_total") or 0.0

    before = count()
    assert not resume(feed(user), 11).recovered
    assert count() == before + 1
    assert not resume(feed(user), 11, "other").recovered
    assert count() == before + 1


def test_the_offset_of_a_page_is_that_of_its_last_publication(user: Any) -> None:
    found = resume(feed(user), 0, limit=4)
    assert offsets(found) == [1, 2, 3, 4]
    assert (found.page.offset, found.page.more) == (4, True)


def test_a_page_moves_over_expired_entries(user: Any) -> None:
    entry = feed(user)
    ago = timezone.now() - timedelta(hours=1)
    Notification.objects.filter(offset__in=[3, 4, 9, 10]).update(expires_at=ago)
    found = resume(entry, 0, limit=4)
    assert (offsets(found), found.page.offset, found.page.more) == ([1, 2], 4, True)
    found = resume(entry, 4, limit=6)
    assert (offsets(found), found.page.offset, found.page.more) == ([5, 6, 7, 8], 10, False)


def test_a_page_is_cut_to_a_size_but_never_empty(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "MAX_REPLY_SIZE", 1)
    found = resume(feed(user), 0)
    assert offsets(found) == [1]
    assert (found.page.offset, found.page.more) == (1, True)


def backlog(user: Any, streams: int, size: int) -> list[Feed]:
    """Feeds of topics with ten publications each, with bodies of ``size`` characters."""
    names = [f"topic:t{number}" for number in range(streams)]
    for name in names:
        if not Stream.objects.filter(name=name, top__gt=0).exists():
            fill(name, 10)
        subscriptions.join([user.pk], name)
    Subscription.objects.update(since=0, delivered=0, read=0)
    Notification.objects.update(body="x" * size)
    found = {f.name: f for f in stream_feeds.load_inboxes([user])[user.pk]}
    return [found[name] for name in names]


def size_of(reply: list[Recovered]) -> int:
    """The bytes of a connect reply with these streams."""
    subs = {item.feed.name: subscribe_result(item) for item in reply}
    return len(JSON.encode(Reply(id=1, connect=ConnectResult(client="c", subs=subs))).payload)


def test_a_reply_is_bounded_over_all_streams(user: Any) -> None:
    feeds = backlog(user, 8, 9_000)
    reply = recover(feeds, {}, 300)
    assert size_of(reply) <= recovery.MAX_REPLY_SIZE
    assert [offsets(item) for item in reply[:2]] == [[*range(1, 11)]] * 2
    for item in reply:
        assert item.page.more == (item.page.offset < 10)
        assert item.page.offset == (offsets(item) or [0])[-1]
    assert [item.page.offset for item in reply[3:]] == [0] * 5


def test_many_streams_leave_room_for_publications(user: Any) -> None:
    """The names of the streams alone make a large reply."""
    feeds = backlog(user, 3, 10)
    named = [feed._replace(name=f"topic:{'n' * 240}{n}") for n in range(900) for feed in feeds[:1]]
    reply = recover(named, {}, 300)
    assert size_of(reply) <= 512 * 1024
    assert offsets(reply[0]) == [1]
    assert reply[1].page == Page([], 0, more=True)


def test_a_single_oversized_publication_is_sent(user: Any) -> None:
    feeds = backlog(user, 3, 2 * recovery.MAX_REPLY_SIZE)
    reply = recover(feeds, {feeds[0].name: Position(feeds[0].epoch, 10)}, 300)
    assert [offsets(item) for item in reply] == [[], [1], []]
    assert reply[2].page == Page([], 0, more=True)


def test_a_stream_without_room_resumes_at_the_position_of_the_client(user: Any) -> None:
    feeds = backlog(user, 2, recovery.MAX_REPLY_SIZE)
    positions = {feed.name: Position(feed.epoch, 4) for feed in feeds}
    reply = recover(feeds, positions, 300)
    assert [item.page.offset for item in reply] == [5, 4]
    assert all(item.recovered and item.page.more for item in reply)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25
)
@given(room=st.integers(1, 4_000), limit=st.integers(1, 12))
def test_replies_together_have_each_entry_once(user: Any, room: int, limit: int) -> None:
    feeds = backlog(user, 3, 300)
    seen: dict[str, list[int]] = {feed.name: [] for feed in feeds}
    positions: dict[str, Position] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recovery, "MAX_REPLY_SIZE", room)
        while True:
            reply = recover(feeds, positions, limit)
            for item in reply:
                seen[item.feed.name] += offsets(item)
                positions[item.feed.name] = Position(item.feed.epoch, item.page.offset)
            if not any(item.page.more for item in reply):
                break
            assert any(item.page.publications for item in reply), "it goes on"
    assert set(map(tuple, seen.values())) == {tuple(range(1, 11))}


def test_many_clients_share_pages(user: Any) -> None:
    entry = feed(user)
    clients = [([entry], {"broadcast": Position(entry.epoch, n % 3)}) for n in range(30)]
    found: list[list[Recovered]] = []
    assert len(queries(lambda: found.extend(recover_many(clients, 300)))) == 1
    for number, (one,) in enumerate(found):
        assert offsets(one) == [*range(number % 3 + 1, 11)]


def test_reconnect_storms_read_a_shared_page_once_a_second(user: Any) -> None:
    entry, now = feed(user), 100.0
    recent = Recent(lambda: now)
    clients = [([entry], {"broadcast": Position(entry.epoch, n % 3)}) for n in range(30)]

    def storm() -> int:
        found: list[list[Recovered]] = []
        count = len(queries(lambda: found.extend(recover_many(clients, 300, recent))))
        assert found == recover_many(clients, 300)
        return count

    assert [storm() for _ in range(5)] == [1, 0, 0, 0, 0]
    now += CACHE_SECONDS
    assert [storm(), storm()] == [1, 0]


def test_the_cache_of_pages_is_bounded(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = feed(user)
    recent = Recent(lambda: 0.0)
    ranges = [Range(entry.stream_id, 0, number + 1) for number in range(CACHE_RANGES + 5)]
    for number in ranges:
        recent.read([number], {})
    assert not queries(lambda: recent.read(ranges[5:], {}))
    assert len(queries(lambda: recent.read(ranges[:1], {}))) == 1
    monkeypatch.setattr("notifications.streams.history.CACHE_RANGE_SIZE", 10)
    large = Range(entry.stream_id, 1, 2)
    assert [len(queries(lambda: recent.read([large], {}))) for _ in range(2)] == [1, 1]


def test_p8_cached_pages_are_not_used_in_another_epoch(user: Any) -> None:
    entry = feed(user)
    recent = Recent(lambda: 0.0)
    for epoch in (entry.epoch, "another"):
        clients = [([entry._replace(epoch=epoch)], {"broadcast": Position(epoch, 0)})]
        storm = partial(recover_many, clients, 300, recent)
        assert len(queries(storm)) == 1


def test_private_pages_are_not_cached(user: Any) -> None:
    notify(user, "private")
    entry = feed(user, user_stream(user.pk))
    recent = Recent(lambda: 0.0)
    for _ in range(2):
        assert len(queries(lambda: recover_many([([entry], {})], 300, recent))) == 1


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    position=st.none() | st.integers(0, 12),
    since=st.integers(0, 10),
    delivered=st.integers(0, 10),
    limit=st.integers(1, 12),
)
def test_pages_together_have_each_entry_once(
    user: Any, position: int | None, since: int, delivered: int, limit: int
) -> None:
    entry = feed(user, since=since, delivered=max(since, delivered))
    seen: list[int] = []
    found = resume(entry, position, limit=limit)
    while True:
        seen += offsets(found)
        assert seen[-1:] <= [found.page.offset]
        if not found.page.more:
            break
        found = resume(entry, found.page.offset, limit=limit)
    start = entry.delivered if position is None else position
    is_lost = position is not None and not since <= position <= 10
    assert seen == ([] if is_lost else [*range(start + 1, 11)])
    assert found.page.offset == 10

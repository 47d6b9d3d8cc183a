"""A history that goes back while clients are connected is detected and renewed (P8)."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.db import OperationalError

from notifications import broadcast, inbox, notify
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.hub.delivery.stream import LocalStream
from notifications.hub.delivery.tip import Tip
from notifications.layer import announcer
from notifications.models import Notification, Stream, Subscription
from notifications.streams import epochs, evidence, subscriptions
from notifications.streams.recovery import Recovered
from notifications.streams.rights import changed
from tests.hub.helpers import own
from tests.peers import Peer, rest, until
from tests.rooms import Backup, hints, make_user

pytestmark = pytest.mark.django_db(transaction=True)

OLD = [f"old {number}" for number in range(1, 11)]
KEPT, LOST = OLD[:4], OLD[4:]


def new(count: int) -> list[str]:
    return [f"new {number}" for number in range(5, 5 + count)]


@pytest.fixture
async def second(hub: Hub) -> AsyncIterator[Hub]:
    """The hub of a second worker with the same database and layer."""
    other = Hub()
    await other.start()
    await rest()
    yield other
    await other.stop()


async def peer_of(user: Any, on: Hub | None = None) -> Peer:
    peer = await Peer.of(user)
    if on is None:
        await peer.connect()
        return peer

    async def get_hub() -> Hub:
        return on

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("notifications.consumers.get_hub", get_hub)
        await peer.connect()
    return peer


def publish_silently(*titles: str) -> None:
    """Publish without hints, as if the channel layer had lost them."""
    with hints():
        for title in titles:
            broadcast(title)


def publish(*titles: str) -> None:
    for title in titles:
        broadcast(title)


def publish_as_before(*titles: str) -> None:
    """Publish with hints in the format of the previous version."""
    with hints() as sent:
        for title in titles:
            broadcast(title)
    for stream, message in sent:
        del message["at"], message["previous"]
        announcer.send(stream, message)


def epoch(name: str = "broadcast") -> str:
    return Stream.objects.get(name=name).epoch


async def lose_six_of_ten(*peers: Peer) -> str:
    """Publish ten notifications, then restore a backup with only the first four of them.

    Args:
        peers: clients that receive all ten first.

    Returns:
        The epoch of the stream.
    """
    await in_database(publish, *KEPT)
    theirs = Subscription.objects.filter(stream__name="broadcast")
    await in_database(lambda: theirs.update(delivered=4))
    backup = await in_database(Backup)
    await in_database(publish, *LOST)
    for peer in peers:
        await peer.wait_for(*OLD)
    await in_database(backup.restore)
    return await in_database(epoch)


async def insist_on_the_news(hub: Hub, user: Any, peer: Peer, before: str, count: int) -> None:
    """Assert a new epoch, a live client that is closed and not recovered, and full delivery."""
    assert await peer.wait_closed() == 3010
    assert peer.titles == OLD, "nothing of the new history under the old epoch"
    await peer.ended()
    assert await in_database(epoch) != before
    result = await peer.connect()
    assert result["subs"]["broadcast"].get("recovered", False) is False
    assert peer.unrecovered == ["broadcast"]
    fresh = await peer_of(user)
    await fresh.wait_for(*new(count))
    await in_database(broadcast, "as ever")
    await peer.wait_for(*OLD, "as ever")
    await fresh.wait_for(*new(count), "as ever")
    assert not peer.violations


# Detection


@pytest.mark.parametrize("count", [0, 1, 5, 6, 7, 9])
async def test_p8_the_check_finds_it_without_hints_wherever_the_top_is(
    hub: Hub, user: Any, count: int
) -> None:
    """The top was 10 before; now it is lower, equal or higher."""
    peer = await peer_of(user)
    before = await lose_six_of_ten(peer)
    await in_database(publish_silently, *new(count))
    await hub.position_check.run()
    await insist_on_the_news(hub, user, peer, before, count)


@pytest.mark.parametrize("count", [1, 6, 9])
async def test_p8_the_first_hint_of_another_history_reveals_it(
    hub: Hub, user: Any, count: int
) -> None:
    peer = await peer_of(user)
    before = await lose_six_of_ten(peer)
    await in_database(publish, *new(count))
    await insist_on_the_news(hub, user, peer, before, count)


async def test_p8_a_hint_after_an_unseen_entry_reveals_it(hub: Hub, user: Any) -> None:
    """The top reaches its old value without hints, and then the next entry is announced."""
    peer = await peer_of(user)
    before = await lose_six_of_ten(peer)
    await in_database(publish_silently, *new(6))
    await in_database(publish, *new(7)[-1:])
    await insist_on_the_news(hub, user, peer, before, 7)


@pytest.mark.parametrize("count", [8, 9])
async def test_p8_a_gap_is_read_only_from_the_same_history(hub: Hub, user: Any, count: int) -> None:
    """The hints come from workers of the previous version, and there is a gap before them."""
    peer = await peer_of(user)
    before = await lose_six_of_ten(peer)
    await in_database(publish_silently, *new(7))
    await in_database(publish_as_before, *new(count)[7:])
    await insist_on_the_news(hub, user, peer, before, count)


async def test_p8_repairs_of_many_streams_read_only_from_the_same_history(
    hub: Hub, user: Any
) -> None:
    peer = await peer_of(user)
    before = await lose_six_of_ten(peer)
    await in_database(publish_silently, *new(9))
    stream = hub.streams.by_name["broadcast"]
    hub.streams.repairs.start_many({stream: 13})
    await insist_on_the_news(hub, user, peer, before, 9)


async def test_p8_a_reader_that_is_behind_gets_nothing_from_another_history(
    hub: Hub, user: Any
) -> None:
    peer, quick = await peer_of(user), await peer_of(user)
    await in_database(publish, *KEPT)
    await peer.wait_for(*KEPT)
    backup = await in_database(Backup)
    peer.block()
    await in_database(publish, *LOST)
    await quick.wait_for(*OLD)
    await in_database(backup.restore)
    await in_database(publish_silently, *new(9))
    peer.unblock()
    assert await peer.wait_closed() == 3010
    assert peer.titles in (KEPT, OLD[:5]), "one was with the server already"
    await peer.ended()
    await peer.connect()
    assert peer.unrecovered == ["broadcast"]


async def test_p8_an_announced_entry_that_is_missing_reveals_it(hub: Hub, user: Any) -> None:
    """The hint arrived, but its publication was not read before the restore."""
    peer = await peer_of(user)
    await in_database(publish, *KEPT)
    await peer.wait_for(*KEPT)
    stream = hub.streams.by_name["broadcast"]
    stream.note_announced(stream.epoch, 6)
    before = await in_database(epoch)
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010
    assert await in_database(epoch) != before


async def test_p8_a_lower_revision_reveals_it(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    backup = await in_database(Backup)
    (pk,) = await in_database(notify, user, "one")
    await peer.wait_for("one")
    await in_database(inbox.mark_read, user, [pk])
    await hub.position_check.run()
    await in_database(backup.restore)
    await in_database(lambda: Stream.objects.filter(name=own(user)).update(top=1))
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010


@pytest.mark.parametrize("count", [3, 6])
async def test_p8_a_feed_read_for_another_connect_reveals_it(
    hub: Hub, user: Any, count: int
) -> None:
    """Another client connects before the position check, and its connect reads the stream."""
    peer = await peer_of(user)
    before = await lose_six_of_ten(peer)
    await in_database(publish_silently, *new(count))
    other = await peer_of(await in_database(make_user, "other"))
    await until(lambda: other.closed is not None)
    await insist_on_the_news(hub, user, peer, before, count)


async def test_a_stream_that_only_goes_on_is_not_suspected(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    before = await in_database(epoch)
    for number in range(4):
        await in_database(publish, f"heard {number}")
        await in_database(publish_silently, f"missed {number}")
        await hub.position_check.run()
        await until(lambda: len(peer.titles) % 2 == 0)
    await in_database(publish_as_before, "from an older worker", "and another")
    await in_database(publish, "from a newer one")
    await until(lambda: peer.titles[-1:] == ["from a newer one"])
    await hub.position_check.run()
    await rest()
    assert len(peer.titles) == 11
    assert await in_database(epoch) == before


async def test_a_tip_that_was_pruned_is_no_evidence(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(publish, "one")
    await peer.wait_for("one")
    await in_database(lambda: Notification.objects.all().delete())
    await in_database(publish_silently, "two")
    await hub.position_check.run()
    await peer.wait_for("one", "two")


async def test_a_publication_during_the_check_is_no_evidence(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    look = evidence.look

    def slow(seen: Any) -> Any:
        found = look(seen)
        publish("meanwhile")
        return found

    monkeypatch.setattr("notifications.hub.position_check.look", slow)
    check = asyncio.create_task(hub.position_check.run())
    await peer.wait_for("meanwhile")
    await check
    await rest()
    assert peer.closed is None


# Renewal


async def test_p8_one_of_two_workers_renews_and_both_close_their_readers(
    hub: Hub, second: Hub, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = await peer_of(user), await peer_of(user, second)
    before = await lose_six_of_ten(here, there)
    await in_database(publish_silently, *new(9))
    await asyncio.gather(hub.position_check.run(), second.position_check.run())
    assert await here.wait_closed() == await there.wait_closed() == 3010
    assert here.titles == there.titles == OLD
    after = await in_database(epoch)
    assert after != before
    await until(lambda: hub.streams.renewals.task is None or hub.streams.renewals.task.done())
    await until(lambda: second.streams.renewals.task is None or second.streams.renewals.task.done())
    await hub.position_check.run()
    await second.position_check.run()
    await rest()
    assert await in_database(epoch) == after, "once"
    told = [record.getMessage() for record in caplog.records if "has gone back" in record.message]
    assert sum("1 streams" in line for line in told) == len(told) == 1
    for peer in (here, there):
        await peer.ended()
        await peer.connect()
        assert peer.unrecovered == ["broadcast"]


async def test_p8_the_second_worker_finds_the_new_epoch(hub: Hub, second: Hub, user: Any) -> None:
    here, there = await peer_of(user), await peer_of(user, second)
    await lose_six_of_ten(here, there)
    await in_database(publish_silently, *new(9))
    await hub.position_check.run()
    assert await here.wait_closed() == 3010
    after = await in_database(epoch)
    assert there.closed is None
    await second.position_check.run()
    assert await there.wait_closed() == 3010
    assert await in_database(epoch) == after


async def test_p8_a_connection_that_only_holds_its_muted_private_stream_is_closed(
    hub: Hub, user: Any
) -> None:
    """Otherwise hints about its user's rights would no longer reach it."""
    await in_database(notify, user, "one")
    peer, muted = await peer_of(user), await peer_of(user)
    await in_database(subscriptions.mute, user.pk, own(user), True)
    await hub.rights.check_all()
    assert own(user) not in muted.connection(hub).readers
    hub.streams.reset(hub.streams.by_name[own(user)])
    assert await muted.wait_closed() == await peer.wait_closed() == 3010


async def test_p9_a_slow_renewal_delays_nothing_else(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    await lose_six_of_ten(peer)
    go_on = threading.Event()

    def slow(histories: Any) -> Any:
        assert go_on.wait(20)
        return epochs.renew(histories)

    monkeypatch.setattr("notifications.hub.delivery.renewals.renew", slow)
    try:
        await asyncio.wait_for(hub.position_check.run(), 5)
        await in_database(notify, user, "private")
        await peer.wait_for(*OLD, "private")
        await asyncio.wait_for(hub.position_check.run(), 5)
        await in_database(publish, *new(2))
        await rest()
        assert peer.titles == [*OLD, "private"], "nothing of another history"
        assert peer.closed is None
    finally:
        go_on.set()
    assert await peer.wait_closed() == 3010


async def test_p8_a_lagging_read_closes_no_reader(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a proxy that sends reads to a replica that lags."""
    peer = await peer_of(user)
    await in_database(publish, *KEPT)
    await peer.wait_for(*KEPT)
    before = await in_database(epoch)
    stream, look = hub.streams.by_name["broadcast"], evidence.look

    def late(seen: Any) -> Any:
        found = look(seen)
        found.tops[stream.id] = found.tops[stream.id]._replace(offset=3)
        found.gone_back.add(stream.id)
        return found

    with monkeypatch.context() as patched:
        patched.setattr("notifications.hub.position_check.look", late)
        await hub.position_check.run()
        assert stream.is_suspect
        await in_database(publish, "meanwhile")
        await until(lambda: not stream.is_suspect)
    await hub.position_check.run()
    await peer.wait_for(*KEPT, "meanwhile")
    assert await in_database(epoch) == before
    assert peer.closed is None


async def test_p8_a_failed_renewal_is_retried(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    before = await lose_six_of_ten(peer)
    failures: list[Callable[[], Any]] = [_away, lambda: epochs.Verdict(set(), set())]

    def fickle(histories: Any) -> Any:
        return failures.pop()() if failures else epochs.renew(histories)

    monkeypatch.setattr("notifications.hub.delivery.renewals.renew", fickle)
    monkeypatch.setattr("notifications.hub.delivery.renewals.PAUSE", 0.01)
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010
    assert not failures
    assert await in_database(epoch) != before


def _away() -> Any:
    raise OperationalError


async def test_p1_acknowledgements_of_the_old_history_hide_no_new_entries(
    hub: Hub, user: Any
) -> None:
    """Offset 10 is acknowledged while the history goes back, and then the top passes it."""
    peer = await peer_of(user)
    await lose_six_of_ten(peer)
    await peer.rpc("ack", channel="broadcast", offset=10)
    await in_database(publish_silently, *new(9))
    await hub.flush()
    assert await in_database(delivered, user) == 10, "nobody knows yet"
    await peer.rpc("ack", channel="broadcast", offset=10)
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010
    await hub.flush()
    assert await in_database(delivered, user) == 4
    fresh = await peer_of(user)
    await fresh.wait_for(*new(9))
    await fresh.rpc("ack", channel="broadcast", offset=9)
    await hub.flush()
    assert await in_database(delivered, user) == 9


async def test_a_mark_of_the_new_epoch_replaces_one_of_the_old(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await lose_six_of_ten(peer)
    await peer.rpc("ack", channel="broadcast", offset=10)
    await in_database(publish_silently, *new(1))
    await hub.position_check.run()
    await peer.wait_closed()
    fresh = await peer_of(user)
    await fresh.wait_for(*new(1))
    await fresh.rpc("ack", channel="broadcast", offset=5)
    await hub.flush()
    assert await in_database(delivered, user) == 5


async def test_p8_a_live_reader_that_lacks_pruned_entries_is_closed(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(publish_silently, "pruned", "there")
    await in_database(prune_broadcasts, 1)
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010
    await peer.ended()
    await peer.connect()
    assert peer.unrecovered == ["broadcast"]


async def test_p8_a_reader_behind_that_lacks_pruned_entries_is_closed(hub: Hub, user: Any) -> None:
    peer, quick = await peer_of(user), await peer_of(user)
    peer.block()
    titles = [f"number {number}" for number in range(6)]
    await in_database(publish, *titles)
    await quick.wait_for(*titles)
    await in_database(prune_broadcasts, 3)
    peer.unblock()
    assert await peer.wait_closed() == 3010
    assert quick.closed is None


@pytest.mark.parametrize("many", [False, True], ids=["one stream", "many streams"])
async def test_a_reader_that_began_above_the_floor_reads_on(
    hub: Hub, user: Any, many: bool
) -> None:
    """The process has kept the stream from before the pruning, when it had no readers."""
    peer = await peer_of(user)
    await in_database(publish, "seen")
    await peer.wait_for("seen")
    await peer.end()
    await in_database(publish_silently, "two", "three", "four")
    await in_database(prune_broadcasts, 3)
    await peer.connect()
    assert peer.unrecovered == ["broadcast"]
    await in_database(publish_silently, "five")
    if many:
        await hub.position_check.run()
    else:
        hub.layer_messages.handle_publication(
            "broadcast", hub.streams.by_name["broadcast"].epoch, 5, b"{}", 0, 0
        )
    await peer.wait_for("seen", "five")
    assert peer.closed is None


def prune_broadcasts(floor: int) -> None:
    Notification.objects.filter(stream__name="broadcast", offset__lte=floor).delete()
    Stream.objects.filter(name="broadcast").update(floor=floor)


# Late subscribe replies, and positions that cannot be recovered


@pytest.mark.parametrize("change", ["mute", "leave"])
async def test_p6_a_change_between_reading_and_subscribing_is_noticed(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    peer = await peer_of(user)
    name = "topic:news"
    await in_database(subscriptions.join, [user.pk], name)

    async def late(user_id: Any, function: Any, *args: Any) -> Any:
        result = await in_database(function, *args)
        if isinstance(result, Recovered):
            if change == "mute":
                await in_database(inbox.mute, user, name)
            else:
                await in_database(leave, user, name)
            await until(lambda: peer.connection(hub).rights_changes)
            await until(lambda: hub.rights.is_idle)
        return result

    monkeypatch.setattr(hub.turns, "run", late)
    await peer.call(subscribe={"channel": name})
    await until(lambda: peer.unsubscribed == [name])


def leave(user: Any, name: str) -> None:
    subscriptions.leave([user.pk], name)
    changed([user.pk])


async def test_p8_a_topic_left_and_joined_again_is_not_recovered(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    name = "topic:news"
    first = (await peer.call(subscribe={"channel": name}))["subscribe"]
    await in_database(lambda: broadcast("m1", to=name))
    await peer.wait_for("m1")
    await peer.call(unsubscribe={"channel": name})
    await in_database(subscriptions.leave, [user.pk], name)
    for title in ("m2", "m3"):
        await in_database(lambda title=title: broadcast(title, to=name))  # type: ignore[misc]
    again = {"channel": name, "recover": True, "epoch": first["epoch"], "offset": 1}
    reply = (await peer.call(subscribe=again))["subscribe"]
    assert reply["was_recovering"] is True
    assert reply.get("recovered", False) is False
    assert reply["offset"] == 3


async def test_p8_a_position_from_before_a_mute_is_not_recovered(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(broadcast, "loud")
    await peer.wait_for("loud")
    await peer.end()
    await in_database(inbox.mute, user, "broadcast")
    await in_database(broadcast, "muted")
    await in_database(lambda: inbox.mute(user, "broadcast", False))
    await peer.connect()
    assert peer.unrecovered == ["broadcast"]
    await in_database(broadcast, "loud again")
    await peer.wait_for("loud", "loud again")


# The stream by itself


def test_offsets_announced_in_another_epoch_do_not_count() -> None:
    stream = LocalStream("broadcast")
    stream.note_announced("old", 10)
    stream.note_announced("new", 5)
    assert stream.heard == 10
    stream.learn(7, "new", 4, 0, 44)
    assert (stream.heard, stream.tip) == (5, Tip(4, 44))
    assert stream.seen().top == 5


@pytest.mark.parametrize(
    ("offset", "at", "is_another"),
    [
        (10, 100, False),
        (11, 101, False),
        (9, 99, False),
        (10, 0, False),
        (10, 101, True),
        (10, 99, True),
        (11, 100, True),
        (11, 99, True),
        (9, 100, True),
        (5, 101, True),
    ],
)
def test_entries_of_one_history_ascend_in_offset_and_time(
    offset: int, at: int, is_another: bool
) -> None:
    assert Tip(10, 100).contradicts(offset, at) is is_another
    assert not Tip(10, 0).contradicts(offset, at)


def delivered(user: Any, name: str = "broadcast") -> int:
    return Subscription.objects.get(user=user, stream__name=name).delivered

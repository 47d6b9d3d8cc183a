"""Delivery by the hub: fan-out, gaps, blocked readers, races, and what the position check finds."""

import asyncio
import json
from typing import Any

import pytest
from django.contrib.auth.models import Group

from notifications import broadcast, notify
from notifications.conf import app_settings
from notifications.database.lanes import in_database
from notifications.hub import Connection, Hub
from notifications.hub.delivery.stream import LocalStream
from notifications.models import Notification, Stream, Subscription
from notifications.protocol import codes
from notifications.protocol.json import JSONCodec
from notifications.protocol.prepared import Prepared
from notifications.publishing.notify import withdraw
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams import encoding, evidence, recovery
from notifications.streams.history import read_page
from tests.hub.helpers import counted_statements, own, peer_of, silently
from tests.peers import Peer, rest, running_hub, until
from tests.rooms import fill, make_user, write

pytestmark = pytest.mark.django_db(transaction=True)


# Fan-out


async def test_a_publication_is_encoded_once_for_all_readers(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = [await peer_of(user) for _ in range(5)]
    calls = []

    original = JSONCodec.encode_publication

    def counting(codec: JSONCodec, *args: Any) -> Prepared:
        calls.append(args)
        return original(codec, *args)

    monkeypatch.setattr(JSONCodec, "encode_publication", counting)
    await in_database(broadcast, "for all")
    for peer in peers:
        await peer.wait_for("for all")
    assert len(calls) == 1


async def test_private_and_shared_streams_reach_only_their_readers(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    mine, theirs = await peer_of(user), await peer_of(other)
    await in_database(notify, user, "private")
    await in_database(broadcast, "shared")
    await mine.wait_for("private", "shared")
    await theirs.wait_for("shared")


async def test_duplicates_and_old_hints_are_dropped(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    for title in ("one", "two"):
        await in_database(broadcast, title)
    await peer.wait_for("one", "two")
    stream = hub.streams.by_name["broadcast"]
    page = await in_database(read_page, stream.id, 0, 10)
    for publication in page.publications:
        hub.layer_messages.handle_publication(
            "broadcast", stream.epoch, publication.offset, publication.data
        )
    await rest()
    assert peer.titles == ["one", "two"]
    assert not peer.violations


async def test_a_gap_is_read_from_history_in_order(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await silently(broadcast, "one")
    await silently(broadcast, "two")
    await in_database(broadcast, "three")
    await peer.wait_for("one", "two", "three")


async def test_a_hint_of_another_epoch_is_ignored(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    hub.layer_messages.handle_publication("broadcast", "another", 1, b'{"title":"wrong"}')
    hub.layer_messages.handle_publication("nobody:here", "another", 1, b"{}")
    await in_database(broadcast, "right")
    await peer.wait_for("right")


async def test_a_large_fan_out_is_sliced_and_stays_in_order(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.hub.delivery.repairs.SLICE", 2)
    peers = [await peer_of(user) for _ in range(7)]
    peers[3].block()
    titles = [f"number {number}" for number in range(5)]
    for title in titles:
        await in_database(broadcast, title)
    for peer in [*peers[:3], *peers[4:]]:
        await peer.wait_for(*titles)
    peers[3].unblock()
    await peers[3].wait_for(*titles)
    assert not any(peer.violations for peer in peers)


# The position check


async def test_what_many_streams_have_got_by_themselves_is_read_with_one_query(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.publishing.hints.MAX_HINTS", 3)
    users = [user, *[await in_database(make_user, f"user {number}") for number in range(5)]]
    peers = [await peer_of(one) for one in users]
    for one in users:
        await in_database(write, own(one), title="for all of you")
    with counted_statements('"notifications_notification"') as statements:
        assert await in_database(sequence_waiting) == 6
        for peer in peers:
            await peer.wait_for("for all of you")
        assert len([each for each in statements if "SELECT" in each and "title" in each]) == 1
    # The layer has lost nothing, so all groups stay joined.
    assert all(stream.is_joined for stream in hub.streams.by_name.values())
    await in_database(notify, user, "for you")
    await peers[0].wait_for("for all of you", "for you")
    assert not any(peer.violations for peer in peers)


async def test_a_lost_tail_is_found_with_one_query_per_process(hub: Hub, user: Any) -> None:
    others = [await in_database(make_user, f"user {number}") for number in range(5)]
    peers = [await peer_of(one) for one in [user, *others]]
    await silently(broadcast, "lost")
    await rest()
    assert not peers[0].titles
    with counted_statements('"notifications_stream"') as statements:
        await hub.position_check.run()
        assert len(statements) == 1
    for peer in peers:
        await peer.wait_for("lost")


async def test_the_ticker_publishes_leftovers_of_a_dead_process(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(write, "broadcast", title="left")
    assert await in_database(sequence_waiting) == 1
    await peer.wait_for("left")


async def test_a_changed_epoch_closes_with_insufficient_state(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(lambda: Stream.objects.filter(name="broadcast").update(epoch="other"))
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010
    await peer.ended()
    result = await peer.connect()
    assert result["subs"]["broadcast"]["epoch"] == "other"
    assert peer.unrecovered == ["broadcast"]
    await in_database(broadcast, "after")
    await peer.wait_for("after")


async def test_a_deleted_stream_closes_its_readers(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(lambda: Stream.objects.filter(name="broadcast").delete())
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010


async def test_a_reset_during_a_connect_is_noticed(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader attached to a stream that the hub has forgotten would get nothing more."""
    first = await peer_of(user)
    second = await Peer.of(user)
    await second.open()
    resume, reset = hub.resume, asyncio.Event()

    async def slow(item: Any, deadline: float) -> Any:
        resumed = await resume(item, deadline)
        await reset.wait()
        return resumed

    monkeypatch.setattr(hub, "resume", slow)
    command = second.ask(connect=second.connect_request())
    await until(lambda: hub.streams.by_name["broadcast"].pins)
    await in_database(lambda: Stream.objects.filter(name="broadcast").update(epoch="other"))
    await hub.position_check.run()
    assert await first.wait_closed() == 3010
    reset.set()
    await second.reply(command)
    assert await second.wait_closed() == 3010


async def test_unsendable_pages_do_not_block_later_publications(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "PAGE_SIZE": 2}
    peer = await peer_of(user)
    for number in range(4):
        await silently(broadcast, f"bad {number}")
    await silently(broadcast, "good")
    original = encoding.publication

    def publication(notification: Notification) -> Any:
        if notification.title.startswith("bad"):
            raise ValueError("not JSON")
        return original(notification)

    monkeypatch.setattr(encoding, "publication", publication)
    await hub.position_check.run()
    await peer.wait_for("good")


async def test_positions_advance_past_withdrawn_notifications(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await silently(broadcast, "withdrawn")
    await in_database(lambda: withdraw(Notification.objects.all()))
    await hub.position_check.run()
    reader = peer.connection(hub).readers["broadcast"]
    await until(lambda: reader.sent == 1)
    await in_database(broadcast, "next")
    await peer.wait_for("next")


# Blocked readers (P5)


async def test_a_blocked_reader_keeps_a_position_and_catches_up(hub: Hub, user: Any) -> None:
    slow, quick = await peer_of(user), await peer_of(user)
    slow.block()
    titles = [f"number {number}" for number in range(40)]
    for title in titles:
        await in_database(broadcast, title)
    await quick.wait_for(*titles)
    connection = slow.connection(hub)
    reader = connection.readers["broadcast"]
    assert connection.is_blocked
    assert reader.sent == 1, "one message is with the server, the others in history"
    assert reader not in hub.streams.by_name["broadcast"].live
    assert not slow.titles
    slow.unblock()
    await slow.wait_for(*titles)
    await until(lambda: reader in hub.streams.by_name["broadcast"].live)
    await in_database(broadcast, "live again")
    await slow.wait_for(*titles, "live again")
    assert not slow.violations


async def test_a_reader_blocked_for_too_long_is_closed_as_slow(
    hub: Hub, user: Any, settings: Any
) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "SLOW_TIMEOUT": 0.05}
    peer = await peer_of(user)
    peer.block()
    titles = [f"number {number}" for number in range(5)]
    for title in titles:
        await in_database(broadcast, title)
    await until(lambda: peer.connection(hub).closing == codes.SLOW)
    await peer.ended()
    assert not hub.connections.all
    await peer.connect()
    await peer.wait_for(*titles)
    assert not peer.violations


async def test_a_reader_behind_on_two_streams_catches_up_in_order(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    peer.block()
    for number in range(5):
        await in_database(broadcast, f"shared {number}")
        await in_database(notify, user, f"private {number}")
    peer.unblock()
    await until(lambda: len(peer.publications) == 10)
    for kind in ("shared", "private"):
        found = [title for title in peer.titles if title.startswith(kind)]
        assert found == [f"{kind} {number}" for number in range(5)]


async def test_a_blocked_reader_advances_past_withdrawn_history(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    peer.block()
    for number in range(3):
        await in_database(broadcast, f"number {number}")
    await until(lambda: peer.connection(hub).readers["broadcast"].sent == 1)
    await in_database(lambda: withdraw(Notification.objects.filter(offset__gt=1)))
    peer.unblock()
    reader = peer.connection(hub).readers["broadcast"]
    await until(lambda: reader.is_live)
    assert reader.sent == 3
    assert peer.titles == ["number 0"]


class SlowPeer(Peer):
    """A client whose server accepts each message a moment later, such as granian."""

    async def _send(self, event: dict[str, Any]) -> None:
        await self._open.wait()
        await asyncio.sleep(0.01)
        await super()._send(event)


async def behind_with(user: Any, titles: list[str]) -> Peer:
    """Return a connected slow peer that lags behind these broadcasts."""
    peer = await SlowPeer.of(user)
    await peer.connect()
    peer.block()
    for title in titles:
        await in_database(broadcast, title)
    return peer


async def test_a_ping_does_not_wait_for_a_page_that_a_socket_takes_slowly(
    hub: Hub, user: Any
) -> None:
    titles = [f"number {number}" for number in range(60)]
    peer = await behind_with(user, titles)
    connection = peer.connection(hub)
    peer.unblock()
    await until(lambda: len(peer.titles) >= 5 and connection.is_blocked)
    visit_at_its_deadline(hub, connection)
    assert connection.session.owes_ping
    await peer.wait_for(*titles)
    assert peer.pings == 1
    assert len(peer.frames) - peer.frames.index("{}") > 30
    assert not peer.violations


async def test_p8_a_page_is_not_sent_on_once_its_stream_is_suspect(hub: Hub, user: Any) -> None:
    titles = [f"number {number}" for number in range(60)]
    peer = await behind_with(user, titles)
    peer.unblock()
    await until(lambda: len(peer.titles) >= 5)
    peer.connection(hub).readers["broadcast"].stream.is_suspect = True
    sent = peer.connection(hub).readers["broadcast"].sent
    await asyncio.sleep(0.2)  # twenty messages more, at the pace of this socket
    assert peer.connection(hub).readers["broadcast"].sent == sent
    peer.connection(hub).readers["broadcast"].stream.is_suspect = False
    await peer.wait_for(*titles)


@pytest.mark.parametrize("suspect", ["broadcast", "private"])
async def test_p9_a_stream_that_is_being_renewed_delays_no_other_that_is_read_behind(
    hub: Hub, user: Any, suspect: str
) -> None:
    peer = await peer_of(user)
    peer.block()
    for number in range(3):
        await in_database(broadcast, f"broadcast {number}")
        await in_database(notify, user, f"private {number}")
    readers = peer.connection(hub).readers
    stream = readers["broadcast" if suspect == "broadcast" else own(user)].stream
    stream.is_suspect = True
    peer.unblock()
    other = "private" if suspect == "broadcast" else "broadcast"
    await until(lambda: f"{other} 2" in peer.titles)
    stream.is_suspect = False
    await until(lambda: len(peer.titles) == 6)
    assert not peer.violations


async def test_a_reader_of_a_deleted_stream_does_not_query_in_a_busy_loop(
    hub: Hub, user: Any
) -> None:
    peer = await peer_of(user)
    peer.block()
    for number in range(3):
        await in_database(broadcast, f"number {number}")
    await in_database(lambda: Stream.objects.filter(name="broadcast").delete())
    with counted_statements('"notifications_stream"') as statements:
        peer.unblock()
        await asyncio.sleep(0.35)  # a busy loop would make hundreds of queries
        assert 1 <= len(statements) <= 10
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010


def visit_at_its_deadline(hub: Hub, connection: Connection, later: float = 0.0) -> None:
    """Visit a connection as if its deadline had passed, this many seconds ago."""
    hub.visit(connection, now=connection.session.deadline + later)


async def test_a_socket_blocked_for_good_is_closed_at_its_deadline(hub: Hub, user: Any) -> None:
    peer, neighbour = await peer_of(user), await peer_of(user)
    connection = peer.connection(hub)
    peer.block()
    await in_database(broadcast, "one")
    await neighbour.wait_for("one")
    visit_at_its_deadline(hub, connection)
    assert connection.closing is None
    visit_at_its_deadline(hub, connection, later=app_settings.SLOW_TIMEOUT)
    assert connection.closing == codes.SLOW
    await peer.ended()
    assert hub.connections.all == {neighbour.connection(hub)}


async def test_a_socket_blocked_when_a_ping_is_due_gets_it_when_it_drains(
    hub: Hub, user: Any
) -> None:
    """This holds although no reader is behind, and the ping precedes all other messages."""
    peer, neighbour = await peer_of(user), await peer_of(user)
    connection = peer.connection(hub)
    peer.block()
    await in_database(broadcast, "one")
    await neighbour.wait_for("one")
    assert connection.is_blocked
    assert not connection.behind
    visit_at_its_deadline(hub, connection)
    await in_database(broadcast, "two")
    await neighbour.wait_for("one", "two")
    assert connection.behind
    assert (peer.pings, peer.titles) == (0, [])
    peer.unblock()
    await peer.wait_for("one", "two")
    assert peer.pings == 1
    assert peer.frames[-2] == "{}"
    peer.pong()
    await until(lambda: connection.readers["broadcast"].acked == 1, "an acknowledgement")
    assert not connection.session.owes_ping


async def test_a_ping_that_cannot_be_written_expects_no_pong_and_is_sent_later(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    connection = peer.connection(hub)
    await in_database(broadcast, "one")
    await peer.wait_for("one")
    with monkeypatch.context() as patched:
        patched.setattr(Connection, "write", lambda *_: False)
        visit_at_its_deadline(hub, connection)
    assert connection.session.owes_ping
    await until(lambda: peer.pings == 1, "a ping")
    assert connection.closing is None
    peer.pong()
    await until(lambda: connection.readers["broadcast"].acked == 1, "an acknowledgement")


async def test_no_publication_is_written_after_close(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    connection, stream = peer.connection(hub), hub.streams.by_name["broadcast"]
    connection.close(codes.FORCE_NO_RECONNECT)
    hub.layer_messages.handle_publication(
        "broadcast", stream.epoch, stream.top + 1, b'{"title":"too late"}'
    )
    assert await peer.wait_closed() == 3503
    assert not peer.titles


# Races of joining and reading


async def test_a_publication_between_joining_and_reading_arrives(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await Peer.of(user)
    await peer.open()
    resume = hub.resume

    async def late(item: Any, deadline: float) -> Any:
        await in_database(broadcast, "before the look")
        await until(lambda: hub.streams.by_name["broadcast"].heard == 1)
        return await resume(item, deadline)

    monkeypatch.setattr(hub, "resume", late)
    await peer.try_connect()
    await peer.wait_for("before the look")
    assert not peer.violations


async def test_a_publication_between_reading_and_attaching_arrives(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour = await peer_of(user)
    for title in ("one", "two"):
        peer = await Peer.of(user)
        await peer.open()
        resume = hub.resume

        async def late(item: Any, deadline: float, resume: Any = resume, title: str = title) -> Any:
            resumed = await resume(item, deadline)
            await in_database(broadcast, title)
            await until(lambda: neighbour.titles[-1:] == [title])
            return resumed

        with monkeypatch.context() as patched:
            patched.setattr(hub, "resume", late)
            await peer.try_connect()
        await until(lambda peer=peer, title=title: peer.titles[-1:] == [title])  # type: ignore[misc]
        assert not peer.violations
        assert peer.connection(hub).readers["broadcast"].is_live


async def test_the_first_reader_gets_a_publication_between_reading_and_attaching(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await Peer.of(user)
    await peer.open()
    resume = hub.resume

    async def late(item: Any, deadline: float) -> Any:
        resumed = await resume(item, deadline)
        await in_database(broadcast, "in between")
        await until(lambda: hub.streams.by_name["broadcast"].heard == 1)
        return resumed

    monkeypatch.setattr(hub, "resume", late)
    await peer.try_connect()
    await peer.wait_for("in between")


async def test_a_blocked_connect_reply_precedes_every_push(hub: Hub, user: Any) -> None:
    neighbour = await peer_of(user)
    peer = await Peer.of(user)
    await peer.open()
    peer.block()
    command = peer.ask(connect=peer.connect_request())
    await until(lambda: len(hub.connections.all) == 2)
    await in_database(broadcast, "meanwhile")
    await neighbour.wait_for("meanwhile")
    await hub.rights.check_all()
    hub.rights.read_state.push_change(own(user), b'{"type":"read"}', "")
    await rest()
    peer.unblock()
    await peer.reply(command)
    await peer.wait_for("meanwhile")
    await rest()
    assert not peer.violations
    for stream in hub.streams.by_name.values():
        assert len(stream.readers) == 2, "each connection reads once"
    await peer.end()
    assert all(len(stream.readers) == 1 for stream in hub.streams.by_name.values())


# Recovery over the wire


async def test_a_long_backlog_arrives_in_order_and_its_position_never_runs_ahead(
    settings: Any, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(settings, PAGE_SIZE=10) as hub:
        await in_database(fill, own(user), 35)
        peer = await Peer.of(user)
        result = await peer.connect()
        sub = result["subs"][own(user)]
        assert sub["recovered"] is True
        assert sub["offset"] == 10
        assert [publication["offset"] for publication in sub["publications"]] == [*range(1, 11)]
        await until(lambda: len(peer.publications) == 35)
        assert [publication.offset for publication in peer.publications] == [*range(1, 36)]
        assert not peer.violations
        assert peer.connection(hub).readers[own(user)].is_live


async def test_large_content_is_limited_to_a_bounded_reply(hub: Hub, user: Any) -> None:
    await in_database(fill, own(user), 60)
    await in_database(lambda: Notification.objects.update(body="x" * 9_000))
    peer = await Peer.of(user)
    result = await peer.connect()
    sub = result["subs"][own(user)]
    assert len(json.dumps(sub)) < recovery.MAX_REPLY_SIZE + 20_000
    assert sub["offset"] == sub["publications"][-1]["offset"] < 60
    await until(lambda: len(peer.publications) == 60)
    assert not peer.violations


async def test_a_connect_reply_is_bounded_across_streams_and_the_rest_follows(
    hub: Hub, user: Any
) -> None:
    """Without a limit, five groups make a reply of 1.28 MB, which some SDKs reject."""

    def make() -> list[str]:
        groups = [Group.objects.create(name=f"group {number}") for number in range(5)]
        user.groups.set(groups)
        names = [f"group:{group.pk}" for group in groups]
        for name in names:
            fill(name, 40)
        Notification.objects.update(body="x" * 9_000)
        Subscription.objects.update(since=0, delivered=0, read=0)
        return names

    names = await in_database(make)
    peer = await Peer.of(user)
    result = await peer.connect()
    assert len(peer.frames[0]) <= 512 * 1024
    assert all(result["subs"][name].get("recovered") for name in names)
    await until(lambda: len(peer.publications) == 200)
    for name in names:
        offsets = [found.offset for found in peer.publications if found.channel == name]
        assert offsets == [*range(1, 41)]
    assert not peer.violations
    assert max(map(len, peer.frames)) <= 512 * 1024


async def test_a_disconnect_during_a_backlog_loses_nothing(settings: Any, user: Any) -> None:
    async with running_hub(settings, PAGE_SIZE=3):
        await in_database(fill, own(user), 20)
        peer = await Peer.of(user)
        await peer.connect()
        while len(peer.publications) < 20:
            await peer.end()
            await peer.connect()
        assert [publication.offset for publication in peer.publications] == [*range(1, 21)]


# Acknowledgements


async def delivered(user: Any, name: str) -> int:
    rows = Subscription.objects.filter(user=user, stream__name=name)
    return int(await in_database(lambda: rows.values_list("delivered", flat=True).get()))


async def test_an_acknowledgement_is_written_by_the_flush(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(notify, user, "one")
    await peer.wait_for("one")
    await hub.flush()
    assert await delivered(user, own(user)) == 0
    assert await peer.rpc("ack", channel=own(user), offset=1) == {}
    await hub.flush()
    assert await delivered(user, own(user)) == 1


async def test_a_pong_acknowledges_what_was_written_before_its_ping(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(notify, user, "one")
    await peer.wait_for("one")
    connection = peer.connection(hub)
    visit_at_its_deadline(hub, connection)
    await in_database(notify, user, "two")
    await peer.wait_for("one", "two")
    assert peer.pings == 1
    peer.pong()
    await until(lambda: connection.readers[own(user)].acked == 1)
    await hub.flush()
    assert await delivered(user, own(user)) == 1


async def test_a_failed_flush_keeps_its_marks(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    await in_database(notify, user, "one")
    await peer.wait_for("one")
    await peer.rpc("ack", channel=own(user), offset=1)

    def away(positions: Any) -> None:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr("notifications.hub.acknowledgements.acknowledge", away)
        with pytest.raises(OSError, match="away"):
            await hub.flush()
    await in_database(notify, user, "two")
    await peer.wait_for("one", "two")
    await peer.rpc("ack", channel=own(user), offset=2)
    await hub.flush()
    assert await delivered(user, own(user)) == 2


async def test_all_acknowledgements_are_written_in_one_transaction(hub: Hub, user: Any) -> None:
    others = [await in_database(make_user, f"user {number}") for number in range(5)]
    peers = [await peer_of(one) for one in [user, *others]]
    await in_database(broadcast, "one")
    for peer in peers:
        await peer.wait_for("one")
        await peer.rpc("ack", channel="broadcast", offset=1)
    await hub.presence.flush()
    with counted_statements("BEGIN") as begun:
        await hub.flush()
    assert len(begun) == 1
    for one in [user, *others]:
        assert await delivered(one, "broadcast") == 1


# The stream by itself


def test_only_the_first_learn_initializes_a_stream() -> None:
    stream = LocalStream("broadcast")
    assert not stream.is_known
    assert not stream.is_next(1)
    stream.learn(7, "ab", 4, 2)
    stream.learn(8, "cd", 9, 9)
    assert (stream.id, stream.epoch, stream.top, stream.revision) == (7, "ab", 4, 2)
    assert stream.is_next(5)
    assert not stream.is_next(4)
    stream.busy = True
    assert not stream.is_next(5)


def test_a_position_never_moves_back() -> None:
    stream = LocalStream("broadcast")
    stream.learn(7, "ab", 4, 0)
    stream.move_over(3)
    assert stream.top == 4
    stream.move_over(6)
    assert stream.top == 6


async def test_a_stream_left_during_the_check_does_not_break_it(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    stream = hub.streams.by_name[f"user:{user.pk}"]

    def look_while_it_is_left(seen: dict[int, evidence.Seen]) -> evidence.Found:
        del hub.streams.by_name[stream.name]
        found = evidence.look(seen)
        del found.tops[stream.id]
        return found

    monkeypatch.setattr("notifications.hub.position_check.look", look_while_it_is_left)
    await hub.position_check.run()
    assert "broadcast" in hub.streams.by_name
    await peer.end()


async def test_a_ping_held_back_by_the_server_expects_no_pong_yet(hub: Hub, user: Any) -> None:
    """A blocked ASGI socket accepts the first message, so the ping seems to be sent."""
    peer = await peer_of(user)
    connection = peer.connection(hub)
    await in_database(broadcast, "one")
    await peer.wait_for("one")
    peer.block()
    visit_at_its_deadline(hub, connection)
    assert connection.is_blocked
    visit_at_its_deadline(hub, connection)
    assert connection.closing is None
    peer.unblock()
    await until(lambda: peer.pings == 1)
    visit_at_its_deadline(hub, connection)
    assert connection.closing is None
    peer.pong()
    await until(lambda: connection.readers["broadcast"].acked == 1, "an acknowledgement")

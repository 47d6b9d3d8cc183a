"""One notification for many streams, announced by few messages: each stream as if by its own."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from notifications import notify
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.metrics import REPAIRED, WRITTEN
from notifications.models import Notification, Stream
from notifications.protocol import codes
from notifications.protocol.json import JSONCodec
from notifications.streams.instants import instant
from notifications.streams.numbered import Numbered, pack
from tests.hub.helpers import counted_statements, own, peer_of, silently
from tests.peers import Peer, rest, until
from tests.rooms import make_user, rolled_back
from tests.wire_forms import PROTOBUF

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Announce the notification of two streams together."""
    monkeypatch.setattr("notifications.publishing.hints.MAX_HINTS", 1)


@pytest.fixture
async def other() -> Any:
    return await in_database(make_user, "other")


@pytest.fixture
def reads() -> Iterator[list[str]]:
    """The statements that read the content of notifications."""
    with counted_statements('"notifications_notification"."title"') as statements:
        yield statements


def hear(hub: Hub, *entries: Numbered, content: bytes = b'{"title":"heard"}', **more: Any) -> None:
    """Give the hub a message about these entries, as the channel layer does."""
    message: dict[str, Any] = {
        "type": "notifications.publications",
        "stream": "broadcast",
        "content": content,
        "has_id": True,
        "entries": pack(entries),
    }
    hub.layer_messages.dispatch({**message, **more})


def next_of(hub: Hub, user: Any, ahead: int = 0) -> Numbered:
    """What is announced of an entry so far ahead of the next one, 1 s after the top."""
    stream = hub.streams.by_name[own(user)]
    offset, previous = stream.top + 1, stream.tip.at
    if ahead:
        offset, previous = offset + ahead, previous + 500_000
    return Numbered(stream.name, stream.epoch, offset, 7, stream.tip.at + 1_000_000, previous)


async def test_all_connections_get_it_in_order_and_nothing_is_read(
    hub: Hub, user: Any, other: Any, reads: list[str]
) -> None:
    peers = [await peer_of(user), await peer_of(user), await peer_of(other)]
    peers.append(await Peer.of(other, PROTOBUF))
    await peers[-1].connect()
    reads.clear()
    written = WRITTEN._value.get()
    for title in ("one", "two", "three"):
        await in_database(notify, [user, other], title)
    for peer in peers:
        await peer.wait_for("one", "two", "three")
        assert not peer.violations
    assert reads == []
    assert WRITTEN._value.get() - written == 12
    for one in (user, other):
        stream = hub.streams.by_name[own(one)]
        newest = await in_database(Notification.objects.get, stream__name=own(one), offset=3)
        assert (stream.top, stream.heard) == (3, 3)
        assert stream.tip == (3, instant(newest.published_at))


@pytest.mark.parametrize("form", ["text", "binary"])
async def test_it_is_the_frame_that_one_message_for_each_stream_makes(
    hub: Hub, user: Any, other: Any, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await (Peer.of(user, PROTOBUF) if form == "binary" else Peer.of(user))
    await peer.connect()
    with monkeypatch.context() as patched:
        patched.setattr("notifications.publishing.hints.MAX_HINTS", 100)
        await in_database(notify, [user, other], "Über", body='"x"', data={"a": [1]})
    await peer.wait_for("Über")
    await in_database(notify, [user, other], "Über", body='"x"', data={"a": [1]})
    await peer.wait_for("Über", "Über")
    one, two = (peer.form.decode(frame)[0]["push"]["pub"] for frame in peer.frames[-2:])
    ids = await in_database(
        lambda: list(
            Notification.objects.filter(stream__name=own(user))
            .order_by("offset")
            .values_list("pk", flat=True)
        )
    )
    assert [each["data"].pop("id") for each in (one, two)] == ids
    assert [each["data"].pop("created") is not None for each in (one, two)] == [True, True]
    assert [each.pop("offset") for each in (one, two)] == [1, 2]
    assert one == two


async def test_a_gap_is_read_from_history_in_order(hub: Hub, user: Any, other: Any) -> None:
    peers = [await peer_of(user), await peer_of(other)]
    await silently(notify, user, "missed")
    await in_database(notify, [user, other], "for both")
    await peers[0].wait_for("missed", "for both")
    await peers[1].wait_for("for both")
    assert not any(peer.violations for peer in peers)


async def test_repeated_and_late_messages_are_dropped(
    hub: Hub, user: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    heard: list[dict[str, Any]] = []
    dispatch = hub.layer_messages.dispatch

    def listen(message: dict[str, Any]) -> None:
        heard.append(message)
        dispatch(message)

    monkeypatch.setattr(hub.layer_messages, "dispatch", listen)
    for title in ("one", "two"):
        await in_database(notify, [user, other], title)
    await peer.wait_for("one", "two")
    for message in [*heard, *reversed(heard)]:
        dispatch(message)
    await in_database(notify, [user, other], "three")
    await peer.wait_for("one", "two", "three")
    assert len(peer.frames) == 4
    assert not peer.violations


async def test_messages_out_of_order_deliver_in_order(
    hub: Hub, user: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    held: list[dict[str, Any]] = []
    dispatch = hub.layer_messages.dispatch
    await in_database(notify, [user, other], "zero")
    await peer.wait_for("zero")
    with monkeypatch.context() as patched:
        patched.setattr(
            "notifications.layer.announcer.send", lambda _, message: held.append(message)
        )
        for title in ("one", "two", "three"):
            await in_database(notify, [user, other], title)
    for message in reversed(held):
        dispatch(message)
    await peer.wait_for("zero", "one", "two", "three")
    assert not peer.violations


async def test_p8_an_entry_of_another_history_is_not_sent(hub: Hub, user: Any, other: Any) -> None:
    peers = [await peer_of(user), await peer_of(other)]
    await in_database(notify, [user, other], "before")
    for peer in peers:
        await peer.wait_for("before")
    lost = next_of(hub, user)
    hear(hub, lost._replace(previous=lost.previous - 1), next_of(hub, other))
    assert await peers[0].wait_closed() == codes.INSUFFICIENT_STATE.code
    await peers[1].wait_for("before", "heard")
    assert peers[0].titles == ["before"]
    epoch = await in_database(lambda: Stream.objects.get(name=own(user)).epoch)
    assert epoch != lost.epoch


async def test_entries_of_a_suspect_stream_or_of_another_epoch_are_ignored(
    hub: Hub, user: Any, other: Any
) -> None:
    peers = [await peer_of(user), await peer_of(other)]
    await in_database(notify, [user, other], "before")
    for peer in peers:
        await peer.wait_for("before")
    hub.streams.by_name[own(user)].is_suspect = True
    hear(hub, next_of(hub, user), next_of(hub, other)._replace(epoch="another"))
    await rest()
    assert [peer.titles for peer in peers] == [["before"]] * 2
    hub.streams.by_name[own(user)].is_suspect = False
    await in_database(notify, [user, other], "after")
    for peer in peers:
        await peer.wait_for("before", "after")


async def test_an_unknown_stream_costs_nothing_and_delays_no_other(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await in_database(notify, user, "before")
    await peer.wait_for("before")
    nobody = Numbered("user:nobody", "epoch", 1, 1, 1)
    hear(hub, nobody, next_of(hub, user), nobody)
    await peer.wait_for("before", "heard")
    assert "user:nobody" not in hub.streams.by_name
    await rest()
    hear(hub, nobody)
    assert hub.layer_messages.together._task is None or hub.layer_messages.together._task.done()


async def test_p5_a_blocked_reader_keeps_a_position_and_catches_up(
    hub: Hub, user: Any, other: Any
) -> None:
    slow, quick, neighbour = await peer_of(user), await peer_of(user), await peer_of(other)
    slow.block()
    titles = [f"number {number}" for number in range(20)]
    for title in titles:
        await in_database(notify, [user, other], title)
    for peer in (quick, neighbour):
        await peer.wait_for(*titles)
    assert slow.connection(hub).readers[own(user)].sent == 1
    slow.unblock()
    await slow.wait_for(*titles)
    await until(lambda: slow.connection(hub).readers[own(user)].is_live)
    await in_database(notify, [user, other], "live again")
    await slow.wait_for(*titles, "live again")
    assert not slow.violations


async def test_more_readers_of_one_user_than_few_all_get_it(
    hub: Hub, user: Any, other: Any
) -> None:
    peers = [await peer_of(user) for _ in range(10)]
    for title in ("one", "two"):
        await in_database(notify, [user, other], title)
    for peer in peers:
        await peer.wait_for("one", "two")
        assert not peer.violations


async def test_p9_a_stream_that_cannot_be_written_is_read_and_delays_no_other(
    hub: Hub, user: Any, other: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    peers = [await peer_of(user), await peer_of(other)]
    original = JSONCodec.encode_publication

    def fail(codec: JSONCodec, channel: str, *args: Any) -> Any:
        if channel == own(user) and not caplog.text:
            raise RuntimeError("cannot be encoded")
        return original(codec, channel, *args)

    monkeypatch.setattr(JSONCodec, "encode_publication", fail)
    await in_database(notify, [user, other], "for both")
    for peer in peers:
        await peer.wait_for("for both")
        assert not peer.violations
    assert caplog.text.count("Delivering to many streams failed (RuntimeError)") == 1


async def test_a_long_message_is_worked_off_in_slices(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.hub.delivery.together.SLICE", 4)
    users = [user, *[await in_database(make_user, f"user {number}") for number in range(6)]]
    peers = [await peer_of(one) for one in users]
    await in_database(notify, users, "before")
    for peer in peers:
        await peer.wait_for("before")
    together = hub.layer_messages.together
    hear(hub, *[next_of(hub, one) for one in users])
    left = []
    while together._waiting:
        await asyncio.sleep(0)
        left.append(sum(len(message.entries) for message in together._waiting))
    assert left == [5, 3, 1, 0]
    for peer in peers:
        await peer.wait_for("before", "heard")


async def test_p5_what_does_not_fit_into_memory_is_left_to_the_position_check(
    hub: Hub, user: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.hub.delivery.together.MAX_WAITING", 1)
    peers = [await peer_of(user), await peer_of(other)]
    await in_database(notify, [user, other], "for both")
    for peer in peers:
        await peer.wait_for("for both")
        assert not peer.violations


@pytest.mark.parametrize(
    "broken",
    [{"entries": b"\xc1"}, {"entries": b"\x91\x92\x01\x02"}, {"content": 7, "entries": pack([])}],
)
async def test_p7_a_message_in_another_format_is_ignored_once_logged(
    hub: Hub, user: Any, broken: dict[str, Any], caplog: Any
) -> None:
    peer = await peer_of(user)
    hear(hub, **broken)
    await in_database(notify, user, "after")
    await peer.wait_for("after")


async def test_p2_nothing_of_a_transaction_that_failed_is_announced(
    hub: Hub, user: Any, other: Any
) -> None:
    def fail() -> None:
        with rolled_back():
            notify([user, other], "never")

    peer = await peer_of(user)
    await in_database(fail)
    await in_database(notify, [user, other], "kept")
    await peer.wait_for("kept")


# The position check


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The messages that the channel layer holds back, all that are sent from now on."""
    held: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "notifications.layer.announcer.send", lambda _, message: held.append(message)
    )
    return held


async def test_the_check_reads_no_stream_again_whose_row_a_message_has_told(
    hub: Hub, user: Any, other: Any
) -> None:
    peers = [await peer_of(user), await peer_of(other)]
    await hub.position_check.run()
    await in_database(notify, [user, other], "for both")
    for peer in peers:
        await peer.wait_for("for both")
    with counted_statements('"notifications_stream"') as statements:
        await hub.position_check.run()
        assert len(statements) == 1
        assert "known.value" in statements[0]
    await silently(notify, user, "lost")
    await hub.position_check.run()
    await peers[0].wait_for("for both", "lost")


async def test_p4_a_late_message_does_not_hide_what_came_after_it(
    hub: Hub, user: Any, other: Any, monkeypatch: pytest.MonkeyPatch, held: list[dict[str, Any]]
) -> None:
    peer = await peer_of(user)
    await in_database(notify, [user, other], "one")
    await in_database(notify, [user, other], "two")

    def fail(seen: Any) -> None:
        raise ConnectionError("away")

    with monkeypatch.context() as patched:
        patched.setattr("notifications.hub.position_check.look", fail)
        with pytest.raises(ConnectionError):
            await hub.position_check.run()
    hub.layer_messages.dispatch(held[0])
    await peer.wait_for("one")
    await hub.position_check.run()  # nothing has been written since the last one
    await peer.wait_for("one", "two")


async def test_the_check_does_not_read_what_is_being_announced(
    hub: Hub, user: Any, other: Any, reads: list[str], held: list[dict[str, Any]]
) -> None:
    peer = await peer_of(user)
    repaired = REPAIRED._value.get()
    reads.clear()
    await in_database(notify, [user, other], "for both")
    stream = hub.streams.by_name[own(user)]
    check = asyncio.create_task(hub.position_check.run())
    await until(lambda: stream.heard == 1)
    for message in held:
        hub.layer_messages.dispatch(message)
    await check
    await peer.wait_for("for both")
    assert reads == []
    assert REPAIRED._value.get() == repaired
    assert stream.is_joined


async def test_the_check_reads_no_row_whose_change_is_being_announced(
    hub: Hub, user: Any, other: Any, held: list[dict[str, Any]]
) -> None:
    peer = await peer_of(user)
    await hub.position_check.run()
    await in_database(notify, [user, other], "for both")
    with counted_statements('"notifications_stream"') as statements:
        check = asyncio.create_task(hub.position_check.run())
        await until(lambda: statements)
        for message in held:
            hub.layer_messages.dispatch(message)
        await check
        assert len(statements) == 1
        assert "known.value" in statements[0]
    await peer.wait_for("for both")


async def test_a_message_that_arrives_while_a_client_connects_is_not_missed(
    hub: Hub, user: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour = await peer_of(other)
    peer = await Peer.of(user)
    await peer.open()
    resume = hub.resume

    async def late(item: Any, deadline: float) -> Any:
        resumed = await resume(item, deadline)
        await in_database(notify, [user, other], "in between")
        await neighbour.wait_for("in between")
        return resumed

    monkeypatch.setattr(hub, "resume", late)
    await peer.try_connect()
    await peer.wait_for("in between")
    assert not peer.violations

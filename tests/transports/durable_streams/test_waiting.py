"""Readers that wait: woken by publications, ended in time, and bounded."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore

from notifications import broadcast, inbox, notify
from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from notifications.hub import Hub, LocalStream, drain, shutdown
from notifications.models import Notification, Stream
from notifications.streams import rights
from tests.hub.helpers import counted_statements, silently
from tests.peers import PATIENCE, Peer, log_in, rest, running_hub, until
from tests.rooms import fill, make_user
from tests.transports.durable_streams.requests import Exchange, Reader

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, PAGE_SIZE=3) as running:
        yield running
        # Nobody is left behind, whatever a test did.
        await until(lambda: not running.connections.all, "the end of all connections")
        assert all(stream.is_idle for stream in running.streams.by_name.values())
        assert not running.connections.addresses.by_address


@pytest.fixture
async def user() -> Any:
    return await in_database(make_user)


async def waiting(hub: Hub, *exchanges: Exchange) -> None:
    """Wait until these readers are live."""

    def count() -> int:
        return sum(len(stream.live) for stream in hub.streams.by_name.values())

    await until(lambda: count() == len(exchanges), f"{len(exchanges)} live readers")


# Long-polls


async def test_a_long_poll_answers_at_once_if_there_is_something(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(fill, reader.name, 5)
    first = await reader.read("-1", "long-poll")
    assert (first.status, first.titles) == (200, ["number 1", "number 2", "number 3"])
    assert not first.is_up_to_date
    second = await reader.read(first.offset, "long-poll")
    assert (second.titles, second.is_up_to_date) == (["number 4", "number 5"], True)
    for page in (first, second):
        assert page.headers["stream-cursor"].isdecimal()
        assert page.headers["cache-control"] == "private, no-store"


async def test_the_answers_of_long_polls_have_the_etags_of_their_pages(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(notify, user, "one")
    page = await reader.read("-1")
    etag = page.headers["etag"]
    poll = await reader.read("-1", "long-poll")
    assert (poll.status, poll.headers["etag"]) == (200, etag)
    same = await reader.read("-1", "long-poll", headers={"if-none-match": etag})
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert same.headers["stream-cursor"].isdecimal()
    waited = reader.ask(page.offset, "long-poll")
    await waiting(hub, waited)
    await in_database(notify, user, "two")
    await waited.complete()
    assert waited.headers["etag"] == (await reader.read(page.offset)).headers["etag"]


@pytest.mark.parametrize("offset", ["-1", "now"])
async def test_a_publication_wakes_a_long_poll_without_a_query(
    hub: Hub, user: Any, offset: str
) -> None:
    reader = await Reader.of(user)
    poll = reader.ask(offset, "long-poll")
    await waiting(hub, poll)
    with counted_statements('FROM "notifications_notification"') as statements:
        await in_database(notify, user, "now")
        await poll.complete()
    assert (poll.status, poll.titles, poll.is_up_to_date) == (200, ["now"], True)
    assert [sql for sql in statements if "LEFT OUTER JOIN" in sql] == []
    assert (await reader.read(poll.offset)).titles == []


async def test_a_long_poll_without_news_ends_with_204(settings: Any, user: Any) -> None:
    async with running_hub(settings, PING_INTERVAL=0.05) as hub:
        reader = await Reader.of(user)
        await in_database(fill, reader.name, 2)
        end = (await reader.read("now")).offset
        poll = await reader.read(end, "long-poll", cursor="5")
        assert (poll.status, poll.body, poll.offset, poll.is_up_to_date) == (204, b"", end, True)
        assert int(poll.headers["stream-cursor"]) > 5
        assert "content-type" not in poll.headers
        assert not hub.connections.all


async def test_the_cursor_of_an_early_return_is_above_the_one_it_brings(
    hub: Hub, user: Any
) -> None:
    reader = await Reader.of(user)
    await in_database(fill, reader.name, 2)
    cursor = "0"
    for _ in range(3):
        poll = await reader.read("-1", "long-poll", cursor=cursor)
        assert int(poll.headers["stream-cursor"]) > int(cursor)
        cursor = poll.headers["stream-cursor"]


async def test_publications_of_one_moment_answer_together(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    poll = reader.ask("now", "long-poll")
    await waiting(hub, poll)

    def publish() -> None:
        for number in range(5):
            notify(user, f"n{number}")

    await silently(publish)
    await hub.position_check.run()
    await poll.complete()
    found = [*poll.titles]
    while not poll.is_up_to_date:
        poll = await reader.read(poll.offset, "long-poll")
        assert len(poll.titles) <= 3
        found += poll.titles
    assert found == [f"n{number}" for number in range(5)]


async def test_entries_that_are_not_sent_move_a_waiting_reader(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    poll = reader.ask("now", "long-poll")
    await waiting(hub, poll)

    def withdraw() -> None:
        notify(user, "never seen")
        Notification.objects.filter(title="never seen").update(withdrawn_at="2020-01-01T00:00Z")

    await silently(withdraw)
    await hub.position_check.run()
    await until(lambda: hub.streams.by_name[reader.name].top == 1, "the repair")
    await in_database(notify, user, "seen")
    await poll.complete()
    assert poll.titles == ["seen"]
    assert poll.offset.startswith(f"{2:016x}")


async def test_a_client_that_leaves_is_forgotten(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    poll, events = reader.ask("now", "long-poll"), reader.ask("now", "sse")
    await waiting(hub, poll, events)
    poll.hang_up()
    events.hang_up()
    await poll.task
    await events.task
    assert not hub.connections.all
    assert not poll.status
    assert not events.is_complete


async def test_waiting_readers_cost_neither_queries_nor_threads(settings: Any, user: Any) -> None:
    async with running_hub(settings, PING_INTERVAL=0.05, MAX_CONNECTIONS_PER_USER=500) as hub:
        reader = await Reader.of(user, "broadcast")
        polls = [reader.ask("now", "sse") for _ in range(100)]
        await waiting(hub, *polls)
        with counted_statements("") as statements:
            await until(lambda: all(len(p.events) > 2 for p in polls), "some keep-alives")
        assert statements == []
        assert threading.active_count() < 40  # the lanes have a fixed number
        await in_database(broadcast, "one", to="everyone")
        await until(lambda: all(p.event_titles == ["one"] for p in polls), "the publication")
        for poll in polls:
            poll.hang_up()
            await poll.task


# Server-sent events


async def test_events_bring_the_past_and_then_what_is_published(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(fill, reader.name, 5)
    async with reader.events("-1") as stream:
        await until(lambda: len(stream.event_titles) == 5, "the past")
        assert [kind for kind, _ in stream.events] == ["data", "control"] * 2
        assert "upToDate" not in stream.events[1][1]
        assert stream.last_control["upToDate"] is True
        await waiting(hub, stream)
        await in_database(notify, user, "now")
        await until(lambda: "now" in stream.event_titles, "a publication")
        assert stream.last_control["upToDate"] is True
        assert stream.last_control["streamCursor"].isdecimal()
        assert not stream.is_complete
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "private, no-cache, no-store"
    assert "content-length" not in stream.headers
    end = await reader.read("now")
    assert stream.last_control["streamNextOffset"] == end.offset


async def test_events_of_an_empty_stream_begin_with_where_it_is(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    for offset in ("-1", "now"):
        async with reader.events(offset) as stream:
            await until(lambda: stream.events, "an event")
            end = (await reader.read("now")).offset
            [(kind, control)] = stream.events
            assert (kind, control["streamNextOffset"]) == ("control", end)
            assert control["upToDate"] is True


async def test_each_event_has_an_offset_to_resume_from(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    async with reader.events("now") as stream:
        await waiting(hub, stream)
        for number in range(3):
            await in_database(notify, user, f"n{number}")
        await until(lambda: len(stream.event_titles) == 3, "three publications")
    titles: list[str] = []
    for kind, content in stream.events:
        if kind == "data":
            titles += [message["title"] for message in content]
        else:
            rest_of_it = (await reader.read(content["streamNextOffset"])).titles
            assert titles + rest_of_it == ["n0", "n1", "n2"]


async def test_readers_of_one_stream_share_each_encoded_event(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    streams = [reader.ask("now", "sse") for _ in range(3)]
    await waiting(hub, *streams)
    codecs = {each.codec for each in hub.streams.by_name[reader.name].live}
    assert len(codecs) == 1
    for stream in streams:
        stream.hang_up()
        await stream.task


async def test_a_client_that_does_not_read_holds_no_queue(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    async with reader.events("now") as stream:
        await waiting(hub, stream)
        stream.block()
        for number in range(8):
            await in_database(notify, user, f"n{number}")
        await until(lambda: hub.streams.by_name[reader.name].top == 8, "the publications")
        assert not hub.streams.by_name[reader.name].live
        assert stream.event_titles == []
        stream.unblock()
        await until(lambda: len(stream.event_titles) == 8, "all publications")
        assert stream.event_titles == [f"n{number}" for number in range(8)]
        await waiting(hub, stream)


async def test_a_client_that_never_reads_is_left(settings: Any, user: Any) -> None:
    """The request ends, although its response can not."""
    async with running_hub(settings, SLOW_TIMEOUT=0.1) as hub:
        reader = await Reader.of(user)
        stream = reader.ask("now", "sse")
        await waiting(hub, stream)
        stream.block()
        for number in range(3):
            await in_database(notify, user, f"n{number}")
        await asyncio.wait_for(stream.task, PATIENCE)
        assert not stream.is_complete
        assert not hub.connections.all


async def test_a_server_that_can_drops_the_connection_of_a_client_that_never_reads(
    settings: Any, user: Any
) -> None:
    async with running_hub(settings, SLOW_TIMEOUT=0.1) as hub:
        reader = await Reader.of(user)
        aborted: list[bool] = []
        stream = reader.ask(
            "now", "sse", extensions={"notifications.abort": lambda: aborted.append(True)}
        )
        await waiting(hub, stream)
        stream.block()
        for number in range(3):
            await in_database(notify, user, f"n{number}")
        await asyncio.wait_for(stream.task, PATIENCE)
        assert aborted == [True]


@pytest.mark.parametrize("live", ["", "long-poll", "sse"])
async def test_a_client_that_has_gone_leaves_no_traceback(
    hub: Hub, user: Any, live: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On servers whose ``send`` raises an error then (ASGI 2.4)."""
    reader = await Reader.of(user)
    await in_database(notify, user, "one")
    exchange = reader.ask("-1", live)
    exchange.fail()
    await asyncio.wait_for(exchange.task, PATIENCE)
    assert not any(record.exc_info for record in caplog.records)
    assert not hub.connections.all


async def test_an_event_that_is_not_the_last_one_does_not_claim_to_be(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    async with reader.events("now") as stream:
        await waiting(hub, stream)
        stream.block()
        for number in range(3):
            await in_database(notify, user, f"n{number}")
        before = len(stream.events)
        stream.unblock()
        await until(lambda: len(stream.event_titles) == 3, "all publications")
        controls = [content for kind, content in stream.events[before:] if kind == "control"]
        # The first one was on its way when it was the last one.
        assert [control.get("upToDate", False) for control in controls[1:]] == [False, True]


async def test_a_response_ends_after_a_while_and_is_resumed(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.transports.durable_streams.waiting.LIFETIME", (0.0, 0.1))
    reader = await Reader.of(user)
    stream = await reader.read("-1", "sse")
    assert stream.is_complete
    await in_database(notify, user, "meanwhile")
    again = await reader.read(stream.last_control["streamNextOffset"], "sse")
    assert again.event_titles == ["meanwhile"]


# The end of rights


LIVE = ["long-poll", "sse"]


@pytest.mark.parametrize("live", LIVE)
async def test_leaving_a_group_ends_its_readers(hub: Hub, user: Any, live: str) -> None:
    group = await in_database(Group.objects.create, name="g")
    await in_database(group.user_set.add, user)
    reader = await Reader.of(user, f"group:{group.pk}")
    stream = reader.ask("now", live)
    await waiting(hub, stream)
    await in_database(group.user_set.remove, user)
    await stream.complete()
    await in_database(broadcast, "a secret", to=group)
    assert b"secret" not in stream.body
    assert (await reader.read("-1", live)).status == 403


@pytest.mark.parametrize("live", LIVE)
async def test_a_logout_ends_the_readers_of_the_session(hub: Hub, user: Any, live: str) -> None:
    key = await in_database(log_in, user)
    reader = Reader(f"user:{user.pk}", {"cookie": f"sessionid={key}"})
    stream = reader.ask("now", live)
    await waiting(hub, stream)
    await in_database(SessionStore(key).delete)
    await in_database(rights.changed, [user.pk])
    await stream.complete()
    assert (await reader.read("-1", live)).status == 401


@pytest.mark.parametrize("live", LIVE)
async def test_a_deactivation_that_nobody_announces_ends_readers(
    hub: Hub, user: Any, live: str
) -> None:
    reader = await Reader.of(user, "broadcast")
    stream = reader.ask("now", live)
    await waiting(hub, stream)
    rows = get_user_model().objects.filter(pk=user.pk)
    await in_database(rows.update, is_active=False)
    await hub.rights.check_all()  # each RIGHTS_INTERVAL
    await stream.complete()
    assert (await reader.read("-1", live)).status == 401


@pytest.mark.parametrize("live", LIVE)
async def test_a_response_does_not_outlive_its_token(hub: Hub, user: Any, live: str) -> None:
    token = await in_database(make_token, user, 1)
    reader = Reader(f"user:{user.pk}", {"authorization": f"Bearer {token}"})
    began = time.monotonic()
    stream = await reader.read("now", live)
    assert stream.status in (200, 204)
    assert time.monotonic() - began < 3
    assert (await reader.read("now", live)).json["error"]["code"] == 109


async def test_a_muted_stream_keeps_its_readers_waiting(settings: Any, user: Any) -> None:
    async with running_hub(settings, PING_INTERVAL=0.1) as hub:
        reader = await Reader.of(user, "broadcast")
        poll, stream = reader.ask("now", "long-poll"), reader.ask("now", "sse")
        await waiting(hub, poll, stream)
        await in_database(inbox.mute, user, "broadcast")
        await poll.complete()
        await stream.complete()
        assert poll.status == 204
        began = time.monotonic()
        poll = await reader.read(poll.offset, "long-poll")
        assert (poll.status, time.monotonic() - began >= 0.1) == (204, True)
        await in_database(broadcast, "not heard", to="everyone")
        async with reader.events(poll.offset) as stream:
            await until(lambda: len(stream.events) > 1, "a keep-alive")
            assert stream.event_titles == []
            end = (await reader.read("now")).offset
            assert stream.last_control["streamNextOffset"] == end


async def test_readers_get_nothing_but_their_stream(hub: Hub, user: Any) -> None:
    """Neither other streams of the user nor changes of the read state; other clients do."""
    group = await in_database(Group.objects.create, name="g")
    reader = await Reader.of(user, "broadcast")
    peer = await Peer.of(user)
    await peer.connect()
    async with reader.events("now") as stream:
        await until(lambda: len(hub.streams.by_name["broadcast"].live) == 2, "both")
        [pk] = await in_database(notify, user, "private")
        await in_database(group.user_set.add, user)
        await peer.wait_for("private")
        await in_database(inbox.mark_read, user, [pk])
        await until(lambda: peer.subscribed == [f"group:{group.pk}"], "the new group")
        await hub.rights.check_all()
        await in_database(broadcast, "for all", to="everyone")
        await until(lambda: stream.event_titles, "the broadcast")
        assert stream.event_titles == ["for all"]
    await peer.end()


async def test_reading_delivers_nothing_in_the_name_of_the_user(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(notify, user, "one")
    assert (await reader.read("-1")).titles == ["one"]
    await hub.flush()
    peer = await Peer.of(user)
    await peer.connect()
    assert peer.titles == ["one"]
    await peer.end()


# Limits, and the end of the process


@pytest.mark.parametrize("live", LIVE)
async def test_waiting_readers_count_as_connections(settings: Any, user: Any, live: str) -> None:
    async with running_hub(
        settings, MAX_CONNECTIONS_PER_USER=2, MAX_CONNECTIONS_PER_ADDRESS=3
    ) as hub:
        reader = await Reader.of(user)
        open_ones = [reader.ask("now", live) for _ in range(2)]
        await waiting(hub, *open_ones)
        refused = await reader.read("now", live)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert (await reader.read("now")).status == 200
        other = await Reader.of(await in_database(make_user, "other"))
        open_ones.append(other.ask("now", live))
        await waiting(hub, *open_ones)
        assert (await other.read("now", live)).status == 429
        for each in open_ones:
            each.hang_up()
            await each.task


async def test_a_stopping_process_answers_those_who_wait(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    poll, stream = reader.ask("now", "long-poll"), reader.ask("now", "sse")
    await waiting(hub, poll, stream)
    await drain(asyncio.Event())
    await poll.complete()
    await stream.complete()
    assert (poll.status, poll.is_up_to_date) == (204, True)
    assert poll.headers["connection"] == "close"
    late = await reader.read(poll.offset, "long-poll")
    assert (late.status, late.headers["retry-after"]) == (503, "1")
    assert late.headers["connection"] == "close"


async def test_a_hub_that_stops_leaves_nobody_waiting(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    poll, stream = reader.ask("now", "long-poll"), reader.ask("now", "sse")
    await waiting(hub, poll, stream)
    await shutdown()
    await poll.complete()
    await stream.complete()


async def test_a_request_that_the_server_cancels_ends_well(hub: Hub, user: Any) -> None:
    """As daphne does when it stops, and uvicorn after its ``--timeout-graceful-shutdown``."""
    reader = await Reader.of(user)
    poll, stream = reader.ask("now", "long-poll"), reader.ask("now", "sse")
    await waiting(hub, poll, stream)
    poll.task.cancel()
    stream.task.cancel()
    await poll.complete()
    await stream.complete()
    assert (poll.status, poll.headers["retry-after"]) == (503, "1")
    assert not hub.connections.all


# Histories that go back


@pytest.mark.parametrize("live", LIVE)
async def test_a_new_epoch_ends_waiting_readers_and_is_told(hub: Hub, user: Any, live: str) -> None:
    reader = await Reader.of(user)
    await in_database(fill, reader.name, 2)
    stream = reader.ask("now", live)
    await waiting(hub, stream)
    await in_database(Stream.objects.filter(name=reader.name).update, epoch="an0ther")
    await hub.position_check.run()
    await stream.complete()
    is_poll = live == "long-poll"
    offset = stream.offset if is_poll else stream.last_control["streamNextOffset"]
    assert (await reader.read(offset, live)).status == 410


async def test_what_is_published_between_reading_and_waiting_arrives(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await Reader.of(user)
    await in_database(notify, user, "zero")
    learn = LocalStream.learn
    published = False

    def publish_first(self: LocalStream, *args: Any) -> None:
        nonlocal published
        if not published:
            published = True
            hub.layer_messages.handle_publication(
                reader.name, args[1], args[2] + 1, b'{"title":"in between"}'
            )
        learn(self, *args)

    monkeypatch.setattr(LocalStream, "learn", publish_first)
    await silently(notify, user, "in between")
    end = f"{1:016x}_{(await reader.read('-1')).offset.partition('_')[2]}"
    poll = await reader.read(end, "long-poll")
    await rest()
    assert poll.titles == ["in between"]

"""An official SDK of the Centrifuge protocol works with the server: centrifuge-python.

Where the forms could differ, it speaks both. In Protobuf the SDK hands over bytes, which are JSON.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import centrifuge  # type: ignore[import-untyped]
import pytest
import websockets
from centrifuge import ClientEventHandler
from centrifuge.contexts import (  # type: ignore[import-untyped]
    ConnectedContext,
    ConnectingContext,
    DisconnectedContext,
    ErrorContext,
    ServerPublicationContext,
    ServerSubscribedContext,
    ServerUnsubscribedContext,
)

from tests.client import PATIENCE
from tests.integration import jobs
from tests.integration.partition import Relay
from tests.integration.places import Person, Place, open_place
from tests.sites import Site
from tests.wire_forms import JSON, PROTOBUF, Form, in_each_form

pytestmark = pytest.mark.integration


def content(thing: Any) -> Any:
    """Return the ``data`` of what the SDK hands over."""
    return json.loads(thing.data) if isinstance(thing.data, bytes) else thing.data


def payload(form: Form, value: Any) -> Any:
    """What the SDK takes as ``data``."""
    return json.dumps(value).encode() if form is PROTOBUF else value


class Record(ClientEventHandler):
    """Records the events that the SDK reports to its application."""

    def __init__(self) -> None:
        self.connected: list[ConnectedContext] = []
        self.connecting: list[int] = []
        self.disconnected: list[int] = []
        self.errors: list[ErrorContext] = []
        self.subscribed: list[ServerSubscribedContext] = []
        self.unsubscribed: list[str] = []
        self.publications: list[ServerPublicationContext] = []

    async def on_connected(self, ctx: ConnectedContext) -> None:
        self.connected.append(ctx)

    async def on_connecting(self, ctx: ConnectingContext) -> None:
        self.connecting.append(ctx.code)

    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        self.disconnected.append(ctx.code)

    async def on_error(self, ctx: ErrorContext) -> None:
        self.errors.append(ctx)

    async def on_subscribed(self, ctx: ServerSubscribedContext) -> None:
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx: ServerUnsubscribedContext) -> None:
        self.unsubscribed.append(ctx.channel)

    async def on_publication(self, ctx: ServerPublicationContext) -> None:
        self.publications.append(ctx)

    def titles(self, channel: str) -> list[str]:
        return [content(c.pub)["title"] for c in self.publications if c.channel == channel]

    async def wait(self, condition: Callable[[], object], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"{what} did not come"
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module", params=["serve", "runserver"])
def shared_place(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server that pings often, so that tests do not wait long for a pong."""
    variables = {
        "NOTIFICATIONS_CHECK_INTERVAL": "0.2",
        "NOTIFICATIONS_PING_INTERVAL": "2",
        "NOTIFICATIONS_PONG_TIMEOUT": "1.9",
    }
    with open_place(site, tmp_path_factory.mktemp("sdk"), request.param, **variables) as place:
        yield place


@asynccontextmanager
async def sdk(
    place: Place,
    person: Person,
    record: Record,
    *,
    address: str = "",
    get_token: Callable[[], Awaitable[str]] | None = None,
    form: Form = JSON,
) -> AsyncIterator[centrifuge.Client]:
    """Connect a client of the SDK, and disconnect it when the block ends.

    Args:
        place: the server.
        person: the user.
        record: records the client's events.
        address: the websocket URL; "" for the server's own.
        get_token: returns a new token; by default always the person's.
        form: the form of the protocol that it speaks.
    """

    async def get_lasting_token() -> str:
        return person.token

    client = centrifuge.Client(
        address or place.server.socket_url,
        events=record,
        get_token=get_token or get_lasting_token,
        use_protobuf=form is PROTOBUF,
        proxy=None,
    )
    before = asyncio.all_tasks()
    try:
        await client.connect()
        await client.ready(PATIENCE)
        yield client
    finally:
        await client.disconnect()
        # The SDK closes its socket in a separate task.
        if tasks := asyncio.all_tasks() - before:
            await asyncio.wait(tasks, timeout=PATIENCE)


async def elsewhere(job: Callable, *args: object) -> None:
    """Run a blocking job in a thread, because the SDK needs the event loop."""
    await asyncio.to_thread(job, *args)


@in_each_form
async def test_the_sdk_recovers_after_a_restart_of_the_server(place: Place, form: Form) -> None:
    person = place.person()
    record = Record()
    async with sdk(place, person, record, form=form):
        await record.wait(lambda: len(record.subscribed) >= 2, "server-side subscriptions")
        assert {ctx.channel for ctx in record.subscribed} == {person.channel, "broadcast"}
        assert all(ctx.recoverable and ctx.positioned for ctx in record.subscribed)
        assert content(record.connected[0])["user"]["name"] == person.name

        await elsewhere(place.other.run, jobs.notify_user, person.id, ["one"])
        await elsewhere(place.other.run, jobs.broadcast_to, "everyone", ["for all"])
        await record.wait(lambda: len(record.publications) == 2, "both")

        await elsewhere(restart_in_between, place, person, ["two", "three"])
        await record.wait(lambda: len(record.connected) == 2, "a reconnect")
        await record.wait(lambda: len(record.publications) >= 4, "what was missed")
        assert record.titles(person.channel) == ["one", "two", "three"]
        own = [ctx for ctx in record.subscribed if ctx.channel == person.channel][-1]
        assert own.was_recovering
        assert own.recovered

        await elsewhere(place.other.run, jobs.notify_user, person.id, ["four"])
        await record.wait(lambda: len(record.publications) >= 5, "a live one")
        assert record.titles(person.channel) == ["one", "two", "three", "four"]
        assert record.titles("broadcast") == ["for all"]
    # While the server was down, connections were refused.
    assert all(isinstance(ctx.error, OSError) for ctx in record.errors), record.errors


def restart_in_between(place: Place, person: Person, titles: list[str]) -> None:
    place.server.kill()
    place.other.run(jobs.notify_user, person.id, titles)
    place.server.start()


@in_each_form
async def test_the_sdk_receives_a_long_backlog_in_order(place: Place, form: Form) -> None:
    person = place.person()
    titles = [f"n{number}" for number in range(700)]
    await elsewhere(place.other.run, jobs.notify_in_bulk, person.id, titles)
    record = Record()
    async with sdk(place, person, record, form=form):
        await record.wait(lambda: len(record.publications) >= 700, "the backlog")
        assert record.titles(person.channel) == titles


@pytest.fixture
def old_frame_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close with 1009 at a frame above 1 MiB, as earlier versions of the SDK do."""
    monkeypatch.setattr(websockets, "connect", partial(open_limited, websockets.connect))


async def open_limited(connect: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return await connect(*args, **{**options, "max_size": 2**20})


@pytest.mark.usefixtures("old_frame_limit")
async def test_a_big_backlog_in_many_groups_is_sent_in_several_frames(place: Place) -> None:
    """2.4 MB are sent in several frames, and each group in order."""
    person = place.person()
    titles = await asyncio.to_thread(place.other.run, jobs.fill_groups, person.id, 8, 30, 9_900)
    record = Record()
    async with sdk(place, person, record):
        await record.wait(lambda: len(record.publications) >= 8 * 30, "the backlog")
        await elsewhere(place.other.run, jobs.notify_user, person.id, ["after it"])
        await record.wait(lambda: record.titles(person.channel), "a live one")
        assert {channel: record.titles(channel) for channel in titles} == titles
        assert record.connecting == [0]
        assert record.disconnected == []
    assert record.errors == []


@in_each_form
async def test_commands_of_the_sdk_are_answered(place: Place, form: Form) -> None:
    person = place.person(permissions=("send_private",))
    reader = place.person()
    record = Record()
    async with (
        sdk(place, person, Record(), form=form) as client,
        sdk(place, reader, record, form=form) as other,
    ):
        await client.publish(reader.channel, payload(form, {"title": "from the SDK"}))
        await record.wait(lambda: record.titles(reader.channel) == ["from the SDK"], "a message")
        listed = content(await other.rpc("inbox", payload(form, {"folder": "unread"})))
        assert [entry["title"] for entry in listed["entries"]] == ["from the SDK"]
        assert content(await other.rpc("read_all", payload(form, {}))) == {"unread": 0}
        history = await other.history(reader.channel, limit=10)
        assert [content(pub)["title"] for pub in history.publications] == ["from the SDK"]
        with pytest.raises(centrifuge.ReplyError) as refused:
            await other.publish(person.channel, payload(form, {"title": "no"}))
        assert refused.value.code == 103


@in_each_form
async def test_the_sdk_receives_publications_of_a_topic(place: Place, form: Form) -> None:
    person = place.person()
    got: list[str] = []

    class OfTopic(centrifuge.SubscriptionEventHandler):
        async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
            got.append(content(ctx.pub)["title"])

    record = Record()
    async with sdk(place, person, record, form=form) as client:
        topic = client.new_subscription("topic:sdk", events=OfTopic())
        await topic.subscribe()
        await topic.ready(PATIENCE)
        await elsewhere(place.other.run, jobs.broadcast_to, "topic:sdk", ["news"])
        await record.wait(lambda: got == ["news"], "news")


@in_each_form
async def test_the_pong_of_the_sdk_acknowledges_delivery(place: Place, form: Form) -> None:
    """Without the SDK's pong the connection would be closed; the pong acknowledges delivery."""
    person = place.person()
    record = Record()
    async with sdk(place, person, record, form=form):
        await elsewhere(place.other.run, jobs.notify_user, person.id, ["one"])

        def is_delivered() -> bool:
            return place.other.run(jobs.delivered, person.id, person.channel) == 1

        await record.wait(is_delivered, "an acknowledgement")
        assert record.connecting == [0]


@in_each_form
async def test_a_deactivated_user_is_not_reconnected(place: Place, form: Form) -> None:
    person = place.person()
    record = Record()
    async with sdk(place, person, record, form=form):
        await elsewhere(deactivate, place, person)
        await record.wait(lambda: record.disconnected == [3503], "a terminal disconnect")


def deactivate(place: Place, person: Person) -> None:
    place.other.run(jobs.change_user, person.id, is_active=False)


class Tokens:
    """Issues tokens with a lifetime in seconds, as an application's backend does."""

    def __init__(self, place: Place, person: Person, lifetime: float) -> None:
        self._place, self._person, self._lifetime = place, person, lifetime
        self.count = 0

    async def get(self) -> str:
        self.count += 1
        job = self._place.other.run
        return await asyncio.to_thread(job, jobs.token_of, self._person.id, self._lifetime)


@in_each_form
async def test_refreshing_over_a_slow_line_causes_no_reconnect(place: Place, form: Form) -> None:
    """The SDK refreshes its token only in the second in which it expires."""
    person = place.person()
    record = Record()
    tokens = Tokens(place, person, lifetime=2.0)
    relay = Relay(place.server.port)
    relay.delay = 0.3
    try:
        address = place.server.socket_url.replace(f":{place.server.port}/", f":{relay.port}/")
        async with sdk(place, person, record, address=address, get_token=tokens.get, form=form):
            await record.wait(lambda: tokens.count >= 5, "the fourth refresh")
            await elsewhere(place.other.run, jobs.notify_user, person.id, ["still here"])
            await record.wait(lambda: record.titles(person.channel) == ["still here"], "a message")
            assert (len(record.connected), record.connecting) == (1, [0])
        assert record.errors == []
    finally:
        relay.close()


@in_each_form
async def test_a_topic_is_recovered_after_unsubscribing_and_subscribing_again(
    place: Place, form: Form
) -> None:
    person = place.person()
    got: list[str] = []
    got_elsewhere: list[str] = []
    recoveries: list[tuple[bool, bool]] = []

    class OfTopic(centrifuge.SubscriptionEventHandler):
        async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
            got.append(content(ctx.pub)["title"])

        async def on_subscribed(self, ctx: centrifuge.SubscribedContext) -> None:
            recoveries.append((ctx.was_recovering, ctx.recovered))

    class Elsewhere(centrifuge.SubscriptionEventHandler):
        async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
            got_elsewhere.append(content(ctx.pub)["title"])

    record = Record()
    async with (
        sdk(place, person, record, form=form) as client,
        sdk(place, person, Record(), form=form) as desk,
    ):
        topic = client.new_subscription("topic:news", events=OfTopic())
        other = desk.new_subscription("topic:news", events=Elsewhere())
        for subscription in (topic, other):
            await subscription.subscribe()
            await subscription.ready(PATIENCE)
        await elsewhere(place.other.run, jobs.broadcast_to, "topic:news", ["m1"])
        await record.wait(lambda: got == ["m1"], "m1")
        await topic.unsubscribe()
        await elsewhere(place.other.run, jobs.broadcast_to, "topic:news", ["m2", "m3"])
        await topic.subscribe()
        await topic.ready(PATIENCE)
        await record.wait(lambda: len(got) == 3, "what came in between")
        assert got == ["m1", "m2", "m3"]
        assert recoveries[-1] == (True, True)
        await record.wait(lambda: got_elsewhere == got, "the same on the other device")
        assert other.state == centrifuge.SubscriptionState.SUBSCRIBED


async def test_leaving_on_another_device_ends_the_subscription_for_good(place: Place) -> None:
    person = place.person()
    ended: list[tuple[int, str]] = []

    class OfTopic(centrifuge.SubscriptionEventHandler):
        async def on_unsubscribed(self, ctx: centrifuge.UnsubscribedContext) -> None:
            ended.append((ctx.code, ctx.reason))

    record = Record()
    async with sdk(place, person, record) as client, sdk(place, person, Record()) as phone:
        topic = client.new_subscription("topic:b", events=OfTopic())
        await topic.subscribe()
        await topic.ready(PATIENCE)
        await phone.rpc("leave", {"channel": "topic:b"})
        await record.wait(lambda: ended == [(2000, "left")], "an end")
        assert topic.state == centrifuge.SubscriptionState.UNSUBSCRIBED


class OfSubscription(centrifuge.SubscriptionEventHandler):
    """Records the events of one subscription."""

    def __init__(self) -> None:
        self.subscribed: list[centrifuge.SubscribedContext] = []
        self.ended: list[int] = []
        self.titles: list[str] = []

    async def on_subscribed(self, ctx: centrifuge.SubscribedContext) -> None:
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx: centrifuge.UnsubscribedContext) -> None:
        self.ended.append(ctx.code)

    async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
        self.titles.append(content(ctx.pub)["title"])


async def test_subscription_options_that_are_only_requests_do_no_harm(place: Place) -> None:
    person, record, events = place.person(), Record(), OfSubscription()
    options = {"positioned": True, "recoverable": True, "join_leave": True}
    async with sdk(place, person, record) as client:
        topic = client.new_subscription(
            "topic:a", events=events, delta=centrifuge.DeltaType.FOSSIL, data={"app": 1}, **options
        )
        await topic.subscribe()
        await topic.ready(PATIENCE)
        await elsewhere(place.other.run, jobs.broadcast_to, "topic:a", ["one", "two"])
        await record.wait(lambda: events.titles == ["one", "two"], "both")
        assert record.connecting == [0]


@in_each_form
async def test_unsupported_subscription_options_end_only_their_subscription(
    place: Place, form: Form
) -> None:
    person, record = place.person(), Record()

    async def get_token(ctx: Any) -> str:
        return person.token

    options: dict[str, dict[str, Any]] = {
        "topic:b": {"tags_filter": centrifuge.Filter.eq("level", "error")},
        "topic:c": {"token": person.token},
        "topic:d": {"get_token": get_token},
    }
    async with sdk(place, person, record, form=form) as client:
        ends = {channel: OfSubscription() for channel in options}
        for channel, events in ends.items():
            topic = client.new_subscription(channel, events=events, **options[channel])
            await topic.subscribe()
        await record.wait(lambda: all(events.ended for events in ends.values()), "an end of each")
        assert [events.ended for events in ends.values()] == [[108]] * 3
        for ask in (client.presence, client.presence_stats):
            with pytest.raises(centrifuge.ReplyError) as refused:
                await ask("broadcast")
            assert refused.value.code == 108
        assert content(await client.rpc("unread", payload(form, {}))) == {"unread": 0}
        assert (record.connecting, record.disconnected) == ([0], [])


async def test_get_state_is_called_again_when_its_position_cannot_be_recovered(
    place: Place,
) -> None:
    person, record, events = place.person(), Record(), OfSubscription()
    asked: list[str] = []

    async def get_state(channel: str) -> centrifuge.StreamPosition:
        asked.append(channel)
        if len(asked) == 1:
            return centrifuge.StreamPosition(offset=7, epoch="lost")
        known = await client.history(channel, limit=0)
        return centrifuge.StreamPosition(offset=known.offset, epoch=known.epoch)

    await elsewhere(place.other.run, jobs.broadcast_to, "topic:e", ["before"])
    async with sdk(place, person, record) as client:
        topic = client.new_subscription("topic:e", events=events, get_state=get_state)
        await topic.subscribe()
        await topic.ready(PATIENCE)
        assert asked == ["topic:e"] * 2
        assert events.subscribed[-1].recovered

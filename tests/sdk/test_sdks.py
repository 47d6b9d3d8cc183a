"""SDKs of the Centrifuge protocol, unmodified: one row of promises for all of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.sdk.driver import Driver, Kind, Missing, RefusedByServer
from tests.sites import Site

pytestmark = pytest.mark.integration

KINDS = [
    Kind("node"),
    Kind("node", "protobuf"),
    Kind("node", "json", "http_stream"),
    Kind("node", "protobuf", "http_stream"),
    Kind("node", "json", "sse"),
    Kind("python"),
    Kind("python", "protobuf"),
    Kind("go", "protobuf"),
    Kind("java", "protobuf"),
]

#: The Python SDK has neither ``send`` nor an event for messages.
WITH_MESSAGES = [kind for kind in KINDS if kind.sdk != "python"]

#: Starts the SDK of this test with a token: ``sdk(person)`` or ``sdk(person, token="ask")``.
Start = Callable[..., Driver]


@pytest.fixture(scope="module")
def place(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    variables = {
        "NOTIFICATIONS_CHECK_INTERVAL": "0.2",
        "NOTIFICATIONS_PING_INTERVAL": "2",
        "NOTIFICATIONS_PONG_TIMEOUT": "1.9",
        "DJANGO_SETTINGS_MODULE": "tests.sdk.settings",
    }
    with open_place(site, tmp_path_factory.mktemp("sdks"), **variables) as place:
        yield place


@pytest.fixture(params=KINDS, ids=str)
def sdk(request: pytest.FixtureRequest, programs: Any, place: Place) -> Iterator[Start]:
    kind: Kind = request.param
    with ExitStack() as stack:

        def start(person: Person, token: str = "") -> Driver:
            command = or_skip(kind.sdk, programs[kind.sdk])
            made = Driver(kind, command, place.server.socket_url, token or person.token)
            return stack.enter_context(made)

        yield start


def or_skip(sdk: str, make: Callable[[], Any]) -> Any:
    """Make what needs a toolchain; skip the test without it, or fail with CI=true."""
    try:
        return make()
    except Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"NOT RUN: the {sdk} SDK, because this machine has no {missing}")


def notify(place: Place, person: Person, *titles: str) -> None:
    place.other.run(jobs.notify_user, person.id, list(titles))


def test_a_client_is_subscribed_to_its_streams_and_receives(place: Place, sdk: Start) -> None:
    person = place.person()
    client = sdk(person).connect()
    assert client.of("connected")[0]["data"]["user"]["name"] == person.name
    client.wait_for("subscribed", channel=person.channel)
    client.wait_for("subscribed", channel="broadcast")
    notify(place, person, "one", "two")
    client.wait_for_titles(person.channel, ["one", "two"])
    place.other.run(jobs.broadcast_to, "everyone", ["for all"])
    client.wait_for("publication", channel="broadcast")


def test_a_thousand_messages_arrive_in_order(place: Place, sdk: Start) -> None:
    person = place.person()
    client = sdk(person).connect()
    titles = [f"n{number}" for number in range(1000)]
    place.other.run(jobs.notify_in_bulk, person.id, titles[:300])
    client.wait_for("publication", channel=person.channel)
    place.other.run(jobs.notify_in_bulk, person.id, titles[300:])
    client.wait_for_titles(person.channel, titles)


def test_what_a_killed_server_could_not_send_is_recovered(place: Place, sdk: Start) -> None:
    person = place.person()
    client = sdk(person).connect()
    notify(place, person, "one")
    client.wait_for_titles(person.channel, ["one"])
    place.server.kill()
    notify(place, person, "two", "three")
    place.server.start()
    client.wait_for_titles(person.channel, ["one", "two", "three"])
    client.wait_for("subscribed", channel=person.channel, wasRecovering=True, recovered=True)
    notify(place, person, "four")
    client.wait_for_titles(person.channel, ["one", "two", "three", "four"])


def test_a_drained_server_loses_nothing(place: Place, sdk: Start) -> None:
    person = place.person()
    client = sdk(person).connect()
    notify(place, person, "one")
    client.wait_for_titles(person.channel, ["one"])
    assert place.server.stop() == 0
    notify(place, person, "two")
    place.server.start()
    client.wait_for("connected", 2)
    client.wait_for_titles(person.channel, ["one", "two"])
    assert not client.of("disconnected")


def test_a_topic_is_subscribed_unsubscribed_and_recovered(place: Place, sdk: Start) -> None:
    client = sdk(place.person()).connect()
    client.do("subscribe", channel="topic:sdk")
    client.wait_for("subscribed", channel="topic:sdk")
    place.other.run(jobs.broadcast_to, "topic:sdk", ["one"])
    client.wait_for_titles("topic:sdk", ["one"])
    client.do("unsubscribe", channel="topic:sdk")
    client.wait_for("unsubscribed", channel="topic:sdk")
    place.other.run(jobs.broadcast_to, "topic:sdk", ["two"])
    client.do("subscribe", channel="topic:sdk")
    client.wait_for_titles("topic:sdk", ["one", "two"])
    client.wait_for("subscribed", 2, channel="topic:sdk")
    assert client.of("subscribed", channel="topic:sdk", recovered=True)


def test_a_client_publishes_and_reads_history(place: Place, sdk: Start) -> None:
    writer, reader = place.person(permissions=("send_private",)), place.person()
    sender, receiver = sdk(writer).connect(), sdk(reader).connect()
    sender.do("publish", channel=reader.channel, data={"title": "hello"})
    receiver.wait_for_titles(reader.channel, ["hello"])
    page = receiver.do("history", channel=reader.channel, limit=10)
    assert [one["data"]["title"] for one in page["publications"]] == ["hello"]
    assert page["offset"] == page["publications"][0]["offset"] == 1
    with pytest.raises(RefusedByServer) as refused:
        receiver.do("publish", channel=writer.channel, data={"title": "no"})
    assert refused.value.code == 103


def test_procedures_are_called(place: Place, sdk: Start) -> None:
    person = place.person()
    client = sdk(person).connect()
    notify(place, person, "one")
    client.wait_for_titles(person.channel, ["one"])
    listed = client.do("rpc", method="inbox", data={"folder": "unread"})
    assert [entry["title"] for entry in listed["entries"]] == ["one"]
    assert client.do("rpc", method="read_all", data={}) == {"unread": 0}
    with pytest.raises(RefusedByServer) as refused:
        client.do("rpc", method="there is none", data={})
    assert refused.value.code == 104


@pytest.mark.parametrize("sdk", WITH_MESSAGES, indirect=True, ids=str)
def test_a_change_of_read_state_reaches_the_other_device(place: Place, sdk: Start) -> None:
    person = place.person()
    notify(place, person, "one")
    desk, phone = sdk(person).connect(), sdk(person).connect()
    desk.do("send", data={"method": "read_all"})
    assert phone.wait_for("message")[-1]["data"]["unread"] == 0


def test_pongs_keep_the_connection_and_acknowledge(place: Place, sdk: Start) -> None:
    person = place.person()
    client = sdk(person).connect()
    notify(place, person, "one")
    client.wait_for_titles(person.channel, ["one"])
    place.other.run(jobs.wait_until_delivered, person.id, person.channel, 1)
    assert client.of("connecting") == [{"event": "connecting", "code": 0}]


def test_an_expiring_token_is_refreshed_without_a_reconnect(place: Place, sdk: Start) -> None:
    person = place.person()
    asked: list[str] = []

    def get_token(channel: str) -> str:
        asked.append(channel)
        token: str = place.other.run(jobs.token_of, person.id, 2.0)
        return token

    client = sdk(person, token="ask")
    client.get_token = get_token
    client.connect()
    client.wait_until(lambda: len(asked) >= 3, "the second refresh")
    notify(place, person, "still here")
    client.wait_for_titles(person.channel, ["still here"])
    assert len(client.of("connected")) == 1


def test_without_a_new_token_an_expiring_one_ends_the_connection_for_good(
    place: Place, sdk: Start
) -> None:
    """The user is logged out when the SDK asks for a new one, and gets no token."""
    person = place.person()
    lifetimes = [2.0]

    def get_token(channel: str) -> str:
        return place.other.run(jobs.token_of, person.id, lifetimes.pop()) if lifetimes else ""

    client = sdk(person, token="ask")
    client.get_token = get_token
    client.connect()
    (end,) = client.wait_for("disconnected")
    # 1: the SDK gives up by itself. 107: that for Go sends the empty token.
    assert end["code"] in (1, 107)
    assert len(client.of("connected")) == 1


def test_a_wrong_token_is_refused_for_good(place: Place, sdk: Start) -> None:
    client = sdk(place.person(), token="head.body.signature")
    client.do("connect")
    client.wait_for("disconnected", code=3500)


def test_a_user_without_the_right_gets_an_error_of_the_protocol(place: Place, sdk: Start) -> None:
    client = sdk(place.person()).connect()
    client.do("subscribe", channel="topic:secret")
    client.wait_for("unsubscribed", channel="topic:secret", code=103)
    with pytest.raises(RefusedByServer) as refused:
        client.do("presence", channel="broadcast")
    assert refused.value.code == 108


def test_a_deactivated_user_is_not_connected_again(place: Place, sdk: Start) -> None:
    person = place.person()
    client = sdk(person).connect()
    place.other.run(jobs.change_user, person.id, is_active=False)
    client.wait_for("disconnected", code=3503)


def follow(client: Driver, channel: str, **options: Any) -> None:
    client.do("subscribe", channel=channel, **options)
    client.wait_for("subscribed", channel=channel)


def test_a_channel_of_the_application_is_read_written_and_recovered(
    place: Place, sdk: Start
) -> None:
    person = place.person()
    channel = f"chat:{person.id}"
    writer, reader = sdk(person).connect(), sdk(place.person()).connect()
    for client in (writer, reader):
        follow(client, channel)
    writer.do("publish", channel=channel, data={"title": "one"})
    place.other.run(jobs.publish_to, channel, [{"title": "two"}])
    reader.wait_for_titles(channel, ["one", "two"])
    assert [one["by"] for one in reader.of("publication", channel=channel)] == [str(person.id), ""]
    place.server.kill()
    place.other.run(jobs.publish_to, channel, [{"title": "three"}])
    place.server.start()
    reader.wait_for_titles(channel, ["one", "two", "three"])
    page = reader.do("history", channel=channel, limit=10)
    assert [one["data"]["title"] for one in page["publications"]] == ["one", "two", "three"]


def test_an_ephemeral_publication_is_written_to_those_who_are_there(
    place: Place, sdk: Start
) -> None:
    person = place.person()
    channel = f"typing:{person.id}"
    writer, reader = sdk(person).connect(), sdk(place.person()).connect()
    for client in (writer, reader):
        follow(client, channel)
    writer.do("publish", channel=channel, data={"title": "typing"})
    reader.wait_for_titles(channel, ["typing"])
    assert reader.of("publication", channel=channel)[0]["offset"] == 0


def test_presence_joins_and_leaves_are_told(place: Place, sdk: Start) -> None:
    one, other = place.person(), place.person()
    channel = f"chat:{one.id}"
    watcher, guest = sdk(one).connect(), sdk(other).connect()
    follow(watcher, channel, joinLeave=True)
    follow(guest, channel)
    watcher.wait_for("join", channel=channel, user=str(other.id))
    users = sorted(str(person.id) for person in (one, other))
    assert watcher.do("presence", channel=channel) == {"users": users}
    assert watcher.do("presence_stats", channel=channel) == {"clients": 2, "users": 2}
    guest.do("unsubscribe", channel=channel)
    watcher.wait_for("leave", channel=channel, user=str(other.id))
    watcher.do("unsubscribe", channel=channel)
    watcher.wait_for("unsubscribed", channel=channel)
    with pytest.raises(RefusedByServer) as refused:
        watcher.do("presence", channel=channel)
    assert refused.value.code == 103


def test_the_token_of_a_subscription_is_refreshed_while_it_lasts(place: Place, sdk: Start) -> None:
    person = place.person()
    channel = f"secret:{person.id}"
    asked: list[str] = []

    def get_token(wanted: str) -> str:
        asked.append(wanted)
        token: str = place.other.run(jobs.subscription_token, person.id, wanted, 2.0)
        return token

    client = sdk(person).connect()
    client.get_token = get_token
    follow(client, channel, token="ask")
    client.wait_until(lambda: len(asked) >= 3, "the second refresh")
    place.other.run(jobs.publish_to, channel, [{"title": "still here"}])
    client.wait_for_titles(channel, ["still here"])
    assert set(asked) == {channel}
    assert len(client.of("subscribed", channel=channel)) == 1
    assert not client.of("unsubscribed", channel=channel)


def test_a_wrong_token_of_a_subscription_is_refused(place: Place, sdk: Start) -> None:
    person = place.person()
    client = sdk(person).connect()
    other = place.other.run(jobs.subscription_token, place.person().id, "secret:7", 60.0)
    client.do("subscribe", channel="secret:7", token=other)
    client.wait_for("unsubscribed", channel="secret:7", code=103)

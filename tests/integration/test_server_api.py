"""The clients of Centrifugo's server API work with the server, unmodified: ``cent``, both of them.

Each method that a key can have is called here, and those that are refused.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
from cent import (
    AsyncClient,
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentTransportError,
    CentUnauthorizedError,
    ChannelsRequest,
    Client,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)

from notifications.api.server.methods import GRANTABLE
from tests.client import Position
from tests.docs.blocks import blocks_of
from tests.integration.places import Place, open_place
from tests.sites import ROOT, Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

T = TypeVar("T")


@pytest.fixture(scope="module", params=["serve", "runserver"])
def shared_place(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server with namespaces for all tests, once with uvicorn and once with daphne."""
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.integration.presence_settings",
        "NOTIFICATIONS_CHECK_INTERVAL": "0.2",
        "NOTIFICATIONS_FLUSH_INTERVAL": "0.2",
    }
    directory = tmp_path_factory.mktemp("place")
    with open_place(site, directory, request.param, **variables) as place:
        yield place


def make_key(place: Place, methods: tuple[str, ...], channels: tuple[str, ...]) -> str:
    arguments = [f"--method={method}" for method in methods]
    arguments += [f"--channel={channel}" for channel in channels]
    return place.server.manage("make_api_key", "cent", *arguments).stdout.strip()


@pytest.fixture(scope="module")
def shared_key(shared_place: Place) -> str:
    return make_key(shared_place, GRANTABLE, ("*",))


@pytest.fixture
def api(place: Place, shared_key: str) -> Iterator[Client]:
    client = Client(f"{place.server.url}/api", shared_key)
    yield client
    client.close()


def clients_in(api: Client, channel: str) -> int:
    info = api.channels(ChannelsRequest(pattern=channel)).channels.get(channel)
    return 0 if info is None else info.num_clients


def test_a_publication_arrives_and_its_position_is_known(place: Place, api: Client) -> None:
    person = place.person()
    client = place.connected(person)
    result = api.publish(PublishRequest(channel=person.channel, data={"title": "Shipped"}))
    client.wait_for_titles(["Shipped"])
    assert result.offset == client.offsets[-1] == 1
    assert result.epoch == client.positions[person.channel].epoch


def test_a_retry_with_the_same_key_publishes_nothing_new(place: Place, api: Client) -> None:
    person = place.person()
    client = place.connected(person)
    request = PublishRequest(
        channel=person.channel, data={"title": "Paid"}, idempotency_key="order-7"
    )
    first, second = api.publish(request), api.publish(request)
    assert (first.offset, first.epoch) == (second.offset, second.epoch)
    assert first.offset == 1
    api.publish(PublishRequest(channel=person.channel, data={"title": "last"}))
    client.wait_for_titles(["Paid", "last"])


def test_a_broadcast_answers_for_each_channel(place: Place, api: Client) -> None:
    people = [place.person() for _ in range(2)]
    clients = [place.connected(person) for person in people]
    channels = [people[0].channel, "user:0", "nonsense", people[1].channel]
    result = api.broadcast(BroadcastRequest(channels=channels, data={"title": "Hello"}))
    errors = [answer.error.code if answer.error else None for answer in result.responses]
    assert errors == [None, 102, 102, None]
    for client in clients:
        client.wait_for_titles(["Hello"])


def test_the_commands_of_a_batch_are_answered_in_order(place: Place, api: Client) -> None:
    person = place.person()
    replies: Any = api.batch(
        BatchRequest(
            requests=[
                PublishRequest(channel=person.channel, data={"title": "one"}),
                BroadcastRequest(channels=[person.channel], data={"title": "two"}),
                HistoryRequest(channel=person.channel, limit=10),
                InfoRequest(),
            ],
            parallel=True,
        )
    ).replies
    published, broadcast, history, info = replies
    assert published.offset == 1
    assert broadcast.responses[0].result.offset == 2
    assert [entry.data["title"] for entry in history.publications] == ["one", "two"]
    assert isinstance(info.nodes, list)


def test_history_is_read_in_pages_both_ways(place: Place, api: Client) -> None:
    person = place.person()
    for number in range(1, 6):
        api.publish(PublishRequest(channel=person.channel, data={"title": str(number)}))
    top = api.history(HistoryRequest(channel=person.channel))
    assert (top.offset, top.publications) == (5, [])
    since = StreamPosition(offset=2, epoch=top.epoch)
    page = api.history(HistoryRequest(channel=person.channel, limit=2, since=since))
    assert [entry.offset for entry in page.publications] == [3, 4]
    back = api.history(HistoryRequest(channel=person.channel, limit=2, reverse=True))
    assert [entry.data["title"] for entry in back.publications] == ["5", "4"]
    with pytest.raises(CentApiResponseError) as raised:
        api.history(
            HistoryRequest(
                channel=person.channel, limit=1, since=StreamPosition(offset=1, epoch="other")
            )
        )
    assert raised.value.code == 112


def test_a_user_follows_a_topic_and_leaves_it_again(place: Place, api: Client) -> None:
    person = place.person()
    client = place.connected(person)
    api.subscribe(SubscribeRequest(user=str(person.id), channel="topic:news"))
    client.wait(lambda: [m for m in client.messages if m["type"] == "join"], "the message")
    api.publish(PublishRequest(channel="topic:news", data={"title": "News"}))
    titles = [entry["title"] for entry in client.rpc("inbox")["entries"]]
    assert titles == ["News"]
    client.ask(subscribe={"channel": "topic:news"})
    api.unsubscribe(UnsubscribeRequest(user=str(person.id), channel="topic:news"))
    client.wait(lambda: [name for name, _ in client.unsubscribed], "the end of the subscription")
    assert client.rpc("inbox")["entries"] == []
    for channel in (person.channel, "broadcast", "staff"):
        with pytest.raises(CentApiResponseError) as raised:
            api.subscribe(SubscribeRequest(user=str(person.id), channel=channel))
        assert raised.value.code == 103


def test_a_user_is_disconnected_with_the_code_of_the_backend(place: Place, api: Client) -> None:
    person, other = place.person(), place.person()
    leaving = [place.connected(person) for _ in range(3)]
    staying = place.client(person)
    client_id = staying.connect()["client"]
    bystander = place.connected(other)
    wait_until(lambda: clients_in(api, person.channel) == 4, "all connections")
    how = Disconnect(code=4001, reason="moved")
    request = DisconnectRequest(user=str(person.id), whitelist=[client_id], disconnect=how)
    api.disconnect(request)
    assert [client.wait_closed() for client in leaving] == [4001] * 3
    if place.command == "serve":  # daphne drops every reason
        assert [client.closed.reason for client in leaving if client.closed] == ["moved"] * 3
    assert staying.closed is None
    api.disconnect(DisconnectRequest(user=str(person.id), client=client_id))
    assert staying.wait_closed() == 3503
    assert bystander.closed is None


def test_a_refresh_ends_connections_as_expired(place: Place, api: Client) -> None:
    person = place.person()
    client = place.connected(person)
    wait_until(lambda: clients_in(api, person.channel), "the connection")
    api.refresh(RefreshRequest(user=str(person.id), expired=True))
    assert client.wait_closed() == 3005


def test_a_refresh_tells_clients_when_they_expire(place: Place, api: Client) -> None:
    person = place.person()
    client = place.connected(person)
    wait_until(lambda: clients_in(api, person.channel), "the connection")
    api.refresh(RefreshRequest(user=str(person.id), expire_at=int(time.time()) + 500))
    wait_until(lambda: client.refreshes, "the push")
    assert client.refreshes[0]["ttl"] <= 500


def test_channels_and_nodes_tell_who_is_connected(place: Place, api: Client) -> None:
    person = place.person()
    place.connected(person)

    def connected() -> dict[str, int]:
        found = api.channels(ChannelsRequest(pattern="user:*")).channels
        return {name: info.num_clients for name, info in found.items()}

    # Also until the connections of other tests have ended.
    wait_until(lambda: connected() == {person.channel: 1}, "the only connection")
    assert clients_in(api, "broadcast") == 1
    assert clients_in(api, "user:0") == 0
    (node,) = api.info(InfoRequest()).nodes
    assert node.name.rpartition(":")[2].isdecimal()
    assert (node.num_clients, node.num_users) == (1, 1)
    assert node.version == "pushsite 1"
    assert 0 <= node.uptime < 3600


def test_channels_of_namespaces_can_be_used_too(place: Place, api: Client) -> None:
    person, channel = place.person(), "durable:7"
    client = place.client(person)
    client_id = client.connect()["client"]
    client.ask(subscribe={"channel": channel})
    client.positions[channel] = Position("", 0)
    wait_until(
        lambda: api.presence_stats(PresenceStatsRequest(channel=channel)).num_clients, "a client"
    )
    present = api.presence(PresenceRequest(channel=channel)).presence
    assert {name: info.user for name, info in present.items()} == {client_id: str(person.id)}
    assert clients_in(api, channel) == 1
    request = PublishRequest(
        channel=channel, data={"any": ["thing"]}, tags={"a": "b"}, idempotency_key="k"
    )
    result = api.publish(request)
    assert api.publish(request) == result
    client.wait_for_count(1)
    assert [entry.data for entry in client.publications] == [{"any": ["thing"]}]
    (stored,) = api.history(HistoryRequest(channel=channel, limit=9)).publications
    assert (stored.offset, stored.data, stored.tags) == (
        result.offset,
        {"any": ["thing"]},
        {"a": "b"},
    )


def test_what_is_refused_has_a_code(place: Place, api: Client) -> None:
    person = place.person()
    refused = {
        lambda: api.history_remove(HistoryRemoveRequest(channel=person.channel)): 108,
        lambda: api.presence(PresenceRequest(channel=person.channel)): 108,
        lambda: api.presence_stats(PresenceStatsRequest(channel="plain:7")): 108,
        lambda: api.publish(PublishRequest(channel="nonsense", data={"title": "x"})): 102,
        lambda: api.publish(PublishRequest(channel=person.channel, data={"title": ""})): 107,
        lambda: api.publish(PublishRequest(channel=person.channel, data=None)): 107,
    }
    for call, code in refused.items():
        with pytest.raises(CentApiResponseError) as raised:
            call()
        assert raised.value.code == code
    many = BatchRequest(requests=[InfoRequest()] * 1001)
    with pytest.raises(CentTransportError) as transport:
        api.batch(many)
    assert transport.value.status_code == 413


def test_a_wrong_key_and_a_key_out_of_scope_are_refused(place: Place) -> None:
    person = place.person()
    request = PublishRequest(channel=person.channel, data={"title": "x"})
    for wrong in ("", "nonsense", "ntf_" + "A" * 43):
        with pytest.raises(CentUnauthorizedError):
            Client(f"{place.server.url}/api", wrong).publish(request)
    key = make_key(place, ("publish",), ("topic:*",))
    narrow = Client(f"{place.server.url}/api", key)
    narrow.publish(PublishRequest(channel="topic:news", data={"title": "x"}))
    for refused in (
        lambda: narrow.publish(request),
        lambda: narrow.history(HistoryRequest(channel="topic:news")),
    ):
        with pytest.raises(CentApiResponseError) as raised:
            refused()
        assert raised.value.code == 103
    narrow.close()
    assert key not in place.server.log


async def test_the_asynchronous_client_publishes_too(place: Place, shared_key: str) -> None:
    person = place.person()
    client = place.connected(person)
    api = AsyncClient(f"{place.server.url}/api", shared_key)
    result = await api.publish(PublishRequest(channel=person.channel, data={"title": "async"}))
    await api.close()
    assert result.offset == 1
    client.wait_for_titles(["async"])


def test_the_commands_of_the_page_make_a_key_and_publish_with_it(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    (making, publishing) = (
        source
        for _, language, source in blocks_of(ROOT / "docs" / "server-api.md")
        if language == "shell"
    )
    arguments = re.findall(r"""[^\s"]+""", making.partition("manage.py ")[2])
    key = place.server.manage(*arguments).stdout.strip()
    command = publishing.replace("https://push.example", place.server.url)
    done = subprocess.run(
        ["bash", "-c", command.replace("user:7", person.channel)],
        env={**place.server.env, "KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(json.loads(done.stdout)["result"]) == {"offset", "epoch"}
    client.wait_for_titles(["Shipped"])

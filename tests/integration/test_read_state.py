"""Changes of the read state on one connection reach the user's others, in any process."""

from collections.abc import Iterator

import pytest

from notifications.hub.position_check import GRACE
from tests.client import Client
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.sites import Site

pytestmark = pytest.mark.integration

#: Seconds: the default with the in-memory layer, and tolerance for a busy machine.
CHECK_INTERVAL = 1.0
SLACK = GRACE + 0.7


@pytest.fixture(scope="module")
def pair(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two servers whose in-memory channel layers are not connected."""
    with open_place(site, tmp_path_factory.mktemp("pair")) as place:
        place.add_server()
        yield place


@pytest.fixture
def two_servers(pair: Place) -> Iterator[Place]:
    yield pair
    pair.tidy()


def with_entries(place: Place, count: int) -> tuple[Person, list[int]]:
    person = place.person()
    titles = [f"n{number}" for number in range(count)]
    return person, place.other.run(jobs.notify_user, person.id, titles)


def wait_for_message(client: Client, message: dict, timeout: float = 1.0) -> None:
    """Wait for a message with these fields; it also says up to which offsets it has counted."""

    def is_there() -> bool:
        return any(message.items() <= found.items() for found in client.messages)

    client.wait(is_there, f"{message}", timeout)


def test_read_state_reaches_the_other_connections_of_the_user(place: Place) -> None:
    person, ids = with_entries(place, 3)
    phone, desk = place.connected(person), place.connected(person)
    assert phone.rpc("read", ids=ids[:2]) == {"ids": ids[:2], "unread": 1}
    wait_for_message(desk, {"type": "read", "ids": ids[:2], "unread": 1})
    assert desk.rpc("unread") == {"unread": 1}
    assert phone.rpc("unread", ids=ids[:1]) == {"ids": ids[:1], "unread": 2}
    wait_for_message(desk, {"type": "unread", "ids": ids[:1], "unread": 2})
    desk.rpc("archive", ids=ids[2:])
    wait_for_message(phone, {"type": "archive", "ids": ids[2:], "unread": 1})
    desk.rpc("read_all")
    wait_for_message(phone, {"type": "read_all", "ids": [], "unread": 0})
    # The connection that made a change gets the reply and no push.
    assert kinds(phone) == ["archive", "read_all"]
    assert kinds(desk) == ["read", "unread"]


def kinds(client: Client) -> list[str]:
    return [message["type"] for message in client.messages]


def test_the_folders_of_the_inbox_are_read_in_pages(place: Place) -> None:
    person, ids = with_entries(place, 25)
    client = place.connected(person)
    client.rpc("archive", ids=ids[:5])
    client.rpc("read", ids=ids[5:7])
    assert folder(client, "all") == ids[:4:-1]
    assert folder(client, "unread") == ids[:6:-1]
    assert folder(client, "archived") == ids[4::-1]


def folder(client: Client, name: str) -> list[int]:
    """Read a folder page by page and return the ids of its entries."""
    found: list[int] = []
    before = ""
    while True:
        page = client.rpc("inbox", folder=name, before=before, limit=7)
        found += [entry["id"] for entry in page["entries"]]
        before = page.get("next", "")
        if not before:
            return found


def test_a_muted_stream_sends_nothing_until_it_is_unmuted(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    other = place.connected(place.person())
    client.rpc("mute", channel="broadcast", muted=True)
    client.wait(lambda: client.unsubscribed == [("broadcast", 2000)], "an unsubscribe")
    place.other.run(jobs.broadcast_to, "everyone", ["not for him"])
    other.wait_for_titles(["not for him"])
    client.rpc("mute", channel="broadcast", muted=False)
    client.wait(lambda: [name for name, _ in client.subscribed] == ["broadcast"], "a subscribe")
    place.other.run(jobs.broadcast_to, "everyone", ["again"])
    client.wait_for_titles(["again"])


def test_a_worker_without_hints_synchronizes_the_read_state(two_servers: Place) -> None:
    first, second = two_servers.servers
    person, ids = with_entries(two_servers, 3)
    here = two_servers.connected(person, server=first)
    there = two_servers.connected(person, server=second)
    here.rpc("read", ids=ids[:1])
    sync = {"type": "sync", "ids": [], "unread": 2}
    wait_for_message(there, sync, CHECK_INTERVAL + SLACK)
    two_servers.other.run(jobs.read_elsewhere, person.id, ids)
    for client in (here, there):
        wait_for_message(client, {**sync, "unread": 0}, CHECK_INTERVAL + SLACK)


def test_leaving_a_topic_at_one_worker_unsubscribes_at_the_others(two_servers: Place) -> None:
    """The topic's row is deleted too, and that closes no connection."""
    first, second = two_servers.servers
    person = two_servers.person()
    here = two_servers.connected(person, server=first)
    there = two_servers.connected(person, server=second)
    for client in (here, there):
        assert "subscribe" in client.ask(subscribe={"channel": "topic:c"})
    assert here.rpc("leave", channel="topic:c") == {"unread": 0}
    assert here.unsubscribed == [("topic:c", 2000)]
    there.wait(lambda: there.unsubscribed == [("topic:c", 2000)], "an end", 10.0)
    assert "subscribe" in there.ask(subscribe={"channel": "topic:c"})
    assert (here.closed, there.closed) == (None, None)

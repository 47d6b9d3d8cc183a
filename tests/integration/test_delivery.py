"""Delivery of a notification: one process publishes it, another sends it over TCP."""

import json
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as open_socket
from websockets.typing import Subprotocol

from tests.client import PATIENCE
from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.raw import RawSocket
from tests.sites import Site
from tests.wire_forms import FORMS, PROTOBUF

pytestmark = pytest.mark.integration

#: Seconds between two ticks of the ticker, and tolerance for a busy machine.
TICK_INTERVAL = 1.0
SLACK = 5.0


@pytest.fixture(scope="module", params=["serve", "runserver", "uvicorn"])
def shared_place(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server on uvicorn with our protocol classes, on daphne, and on plain uvicorn."""
    directory = tmp_path_factory.mktemp("place")
    with open_place(site, directory, request.param, NOTIFICATIONS_CHECK_INTERVAL="0.2") as place:
        yield place


def test_a_user_who_has_logged_in_receives_a_notification(place: Place) -> None:
    """Log in with the real form, connect, and receive a publication of another process."""
    reader = place.other.run(jobs.find_user, "reader")
    client = place.client(cookie=place.server.login("reader"), origin=place.server.url)
    result = client.connect()
    assert result["data"]["user"] == {"id": str(reader), "name": "reader"}
    assert result["pong"] is True
    assert {f"user:{reader}", "broadcast"} <= set(result["subs"])
    begun = time.monotonic()
    (pk,) = place.other.run(jobs.notify_user, reader, ["Shipped"])
    client.wait_for_titles(["Shipped"])
    received = client.publications[0]
    assert received.at - begun < SLACK
    assert received.channel == f"user:{reader}"
    assert received.data["id"] == pk
    assert received.data["level"] == "info"


def test_a_scheduled_notification_arrives_when_it_is_due(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    due = time.monotonic() + 2.0
    place.other.run(jobs.notify_user, person.id, ["later"], delay=2.0)
    place.other.run(jobs.notify_user, person.id, ["now"])
    client.wait_for_titles(["now", "later"])
    assert client.publications[0].at < due
    assert -0.05 < client.publications[1].at - due < TICK_INTERVAL + SLACK


def test_a_broadcast_reaches_everybody_once(place: Place) -> None:
    clients = [place.connected(place.person()) for _ in range(3)]
    place.other.run(jobs.broadcast_to, "everyone", ["hello"])
    for client in clients:
        client.wait_for_titles(["hello"])
        assert client.publications[0].channel == "broadcast"


def test_a_private_notification_reaches_nobody_else(place: Place) -> None:
    person, stranger = place.person(), place.person()
    client, elsewhere = place.connected(person), place.connected(stranger)
    place.other.run(jobs.notify_user, person.id, ["for you"])
    client.wait_for_titles(["for you"])
    # This one is published later, so its arrival proves that nothing arrived before it.
    place.other.run(jobs.notify_user, stranger.id, ["for me"])
    elsewhere.wait_for_titles(["for me"])


def test_a_rolled_back_notification_is_never_sent(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    place.other.run(jobs.notify_and_roll_back, person.id, "never")
    place.other.run(jobs.notify_user, person.id, ["committed"])
    client.wait_for_titles(["committed"])
    assert client.offsets == [1]
    assert place.other.run(jobs.unread, person.id) == 1


def test_the_order_within_a_transaction_is_kept(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    titles = [f"n{number}" for number in range(20)]
    place.other.run(jobs.notify_in_one_transaction, person.id, titles)
    client.wait_for_titles(titles)


def test_a_real_process_that_dies_after_its_commit_loses_nothing(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    dying = place.add_other()
    with pytest.raises(EOFError, match=r"ended with 9$"):
        dying.run(jobs.notify_and_die, person.id, "last words")
    client.wait_for_titles(["last words"])
    assert place.other.run(jobs.offsets, person.channel) == [1]


def test_a_real_process_that_dies_before_it_announces_an_offset_loses_nothing(
    place: Place,
) -> None:
    person = place.person()
    client = place.connected(person)
    dying = place.add_other()
    with pytest.raises(EOFError, match=r"ended with 9$"):
        dying.run(jobs.notify_at_once_and_die, person.id, "last words")
    client.wait_for_titles(["last words"])
    assert place.other.run(jobs.offsets, person.channel) == [1]


def test_rows_left_waiting_are_published_in_order(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    titles = [f"left{number}" for number in range(5)]
    place.other.run(jobs.leave_waiting, person.id, titles)
    client.wait_for_titles(titles)


def test_two_processes_may_publish_to_one_user_at_once(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    second = place.add_other()
    place.other.begin(jobs.notify_user, person.id, [f"a{n}" for n in range(25)])
    second.begin(jobs.notify_user, person.id, [f"b{n}" for n in range(25)])
    place.other.finish()
    second.finish()
    client.wait_for_count(50)
    assert client.offsets == list(range(1, 51))
    assert [t for t in client.titles if t[0] == "a"] == [f"a{n}" for n in range(25)]
    assert [t for t in client.titles if t[0] == "b"] == [f"b{n}" for n in range(25)]


@pytest.mark.parametrize("offered", [["centrifuge-protobuf"], ["other", "centrifuge-protobuf"]])
def test_a_client_that_offers_only_protobuf_gets_protobuf(
    place: Place, offered: list[Subprotocol]
) -> None:
    with open_socket(place.server.socket_url, subprotocols=offered, proxy=None) as client:
        assert client.subprotocol == "centrifuge-protobuf"
        client.send(PROTOBUF.encode([{"id": 1, "connect": {"token": place.person().token}}]))
        (reply,) = PROTOBUF.decode(client.recv(PATIENCE))
        assert reply["connect"]["data"]["unread"] == 0
        # A browser hides the close code unless the server accepts one of its subprotocols.
        client.send("{}")
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 3506


@pytest.mark.parametrize("field", ["format", "cf_protocol"])
def test_a_client_may_ask_for_protobuf_in_the_url(place: Place, field: str) -> None:
    url = f"{place.server.socket_url}?{field}=protobuf"
    with open_socket(url, proxy=None) as client:
        client.send(PROTOBUF.encode([{"id": 1, "connect": {"token": place.person().token}}]))
        (reply,) = PROTOBUF.decode(client.recv(PATIENCE))
        assert "connect" in reply


def test_a_client_of_each_form_recovers_after_the_server_was_killed(place: Place) -> None:
    person = place.person()
    clients = [place.connected(person, form=form) for form in FORMS]
    place.other.run(jobs.notify_user, person.id, ["one"])
    for client in clients:
        client.wait_for_titles(["one"])
    place.server.kill()
    place.other.run(jobs.notify_user, person.id, ["two", "three"])
    place.server.start()
    for client in clients:
        client.wait_closed()
        client.connect()
        client.wait_for_titles(["one", "two", "three"])
        assert client.offsets == [1, 2, 3]
        assert client.unrecovered == []


def test_a_client_that_also_offers_json_gets_json(place: Place) -> None:
    offered = [Subprotocol("centrifuge-protobuf"), Subprotocol("centrifuge-json")]
    with open_socket(place.server.socket_url, subprotocols=offered, proxy=None) as client:
        assert client.subprotocol == "centrifuge-json"
        client.send(json.dumps({"id": 1, "connect": {"token": place.person().token}}))
        assert "connect" in json.loads(client.recv(PATIENCE))


def test_an_empty_subprotocol_header_counts_as_none(place: Place) -> None:
    """Old Python clients send an empty header. Plain uvicorn refuses it before our code runs."""
    with RawSocket(place.server, ["Sec-WebSocket-Protocol:"]) as socket:
        assert socket.status == (400 if place.command == "uvicorn" else 101)

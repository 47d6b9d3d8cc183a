"""What a client receives when it reconnects after an absence, with a position and without."""

import pytest

from tests.client import Client, Position
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.sites import Site

pytestmark = pytest.mark.integration

PAGE = 300


def numbered(count: int, prefix: str = "n") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def arrive(place: Place, person: Person, titles: list[str]) -> Client:
    """Connect a client, notify the person, and wait until the client has received all."""
    client = place.connected(person)
    place.other.run(jobs.notify_user, person.id, titles)
    client.wait_for_titles(titles)
    return client


def test_reconnecting_with_a_position_recovers_what_was_missed(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["before"])
    client.drop()
    missed = numbered(25)
    place.other.run(jobs.notify_user, person.id, missed)
    result = client.connect()["subs"][person.channel]
    assert result["was_recovering"] is True
    assert result["recovered"] is True
    assert [p["data"]["title"] for p in result["publications"]] == missed
    assert result["offset"] == 26
    place.other.run(jobs.notify_user, person.id, ["after"])
    client.wait_for_titles(["before", *missed, "after"])
    assert client.duplicates == []


def test_connecting_without_a_position_delivers_what_was_not_acknowledged(place: Place) -> None:
    """The client receives exactly what the user has not acknowledged."""
    person = place.person()
    client = arrive(place, person, ["one", "two"])
    client.rpc("ack", channel=person.channel, offset=1)
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["three"])
    wait_for_delivered(place, person, 1)
    fresh = place.connected(person)
    fresh.wait_for_titles(["two", "three"])


def test_nothing_is_acknowledged_without_a_pong_or_ack(place: Place) -> None:
    person = place.person()
    arrive(place, person, ["one"]).drop()
    place.connected(person).wait_for_titles(["one"])
    place.connected(person).wait_for_titles(["one"])


def test_the_first_connect_delivers_the_backlog(place: Place) -> None:
    person = place.person()
    place.other.run(jobs.notify_user, person.id, ["first"])
    place.other.run(jobs.broadcast_to, "everyone", ["for all"])
    client = place.connected(person)
    client.wait_for_count(2)
    assert sorted(client.titles) == ["first", "for all"]
    assert client.rpc("unread") == {"unread": 2}


def test_a_long_backlog_arrives_in_order(place: Place) -> None:
    """The reply holds one page and the offset of its last publication; the rest is pushed."""
    person = place.person()
    titles = numbered(1000)
    place.other.run(jobs.notify_in_bulk, person.id, titles)
    client = place.client(person)
    result = client.connect()["subs"][person.channel]
    assert result["offset"] == PAGE
    assert len(result["publications"]) == PAGE
    client.wait_for_titles(titles)
    assert client.offsets == list(range(1, 1001))


def test_a_client_dropped_in_the_middle_of_a_backlog_resumes_there(place: Place) -> None:
    """The client resumes after the last publication of the reply or, if later, of the pushes."""
    person = place.person()
    place.other.run(jobs.notify_in_bulk, person.id, numbered(1000), 2000)
    client = place.client(person)
    client.connect()
    client.drop()
    first = len(client.publications)
    assert 0 < first < 1000, "the client was not dropped in the middle"
    assert client.positions[person.channel].offset == first
    client.connect()
    client.wait_for_count(1000)
    assert client.titles == numbered(1000)
    assert client.duplicates == []


def test_the_position_in_the_connect_reply_leaves_no_gap(place: Place) -> None:
    """An SDK that dies after the connect reply has stored the position in it."""
    person = place.person()
    place.other.run(jobs.notify_in_bulk, person.id, numbered(400))
    first = place.client(person)
    result = first.connect()["subs"][person.channel]
    second = place.client(person)
    second.positions = {person.channel: Position(result["epoch"], result["offset"])}
    second.connect()
    second.wait_for_titles(numbered(400)[len(result["publications"]) :])


def test_a_pruned_position_is_not_recovered(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one"])
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["two", "three", "four"])
    place.other.run(jobs.prune, person.channel, 3)
    assert_starts_over(place, person, client)


def test_a_position_at_the_floor_is_recovered(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one", "two"])
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["three"])
    place.other.run(jobs.prune, person.channel, 2)
    client.connect()
    client.wait_for_titles(["one", "two", "three"])
    assert client.unrecovered == []


def test_a_position_of_another_epoch_is_not_recovered(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one"])
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["two"])
    client.positions[person.channel] = Position("ffff", 1)
    assert_starts_over(place, person, client)


def test_a_new_epoch_closes_a_connected_client(place: Place) -> None:
    """The history was reset: the client is closed with 3010 and is not recovered."""
    person = place.person()
    client = arrive(place, person, ["one"])
    place.other.run(jobs.reset_epoch, person.channel)
    assert client.wait_closed() == 3010
    assert_starts_over(place, person, client)


def test_a_position_beyond_the_top_is_not_recovered(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one"])
    client.drop()
    epoch = client.positions[person.channel].epoch
    client.positions[person.channel] = Position(epoch, 1000)
    assert_starts_over(place, person, client)


def test_a_position_in_a_forbidden_stream_is_ignored(place: Place) -> None:
    person, stranger = place.person(), place.person()
    theirs = arrive(place, stranger, ["secret"])
    client = place.client(person)
    epoch = theirs.positions[stranger.channel].epoch
    client.positions = {stranger.channel: Position(epoch, 0), "staff": Position(epoch, 0)}
    assert set(client.connect()["subs"]) == {person.channel, "broadcast"}
    assert client.titles == []


def test_a_device_receives_what_another_device_has_acknowledged(place: Place) -> None:
    """The server's position is per user; a client's own position takes precedence."""
    person = place.person()
    phone = arrive(place, person, ["one"])
    desk = place.connected(person)
    desk.wait_for_titles(["one"])
    desk.drop()
    place.other.run(jobs.notify_user, person.id, ["two"])
    phone.wait_for_titles(["one", "two"])
    phone.rpc("ack", channel=person.channel, offset=2)
    wait_for_delivered(place, person, 2)
    desk.connect()
    desk.wait_for_titles(["one", "two"])
    assert place.connected(person).titles == []


def test_acknowledging_an_offset_that_was_not_sent_is_refused(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one"])
    for offset in (2, 10**15, -1):
        data = {"channel": person.channel, "offset": offset}
        assert client.error(rpc={"method": "ack", "data": data}) == 107
    assert place.other.run(jobs.delivered, person.id, person.channel) == 0


@pytest.mark.parametrize("command", ["serve", "runserver"])
def test_a_pong_acknowledges_delivery(site: Site, directory, command: str) -> None:
    """A pong acknowledges all that was written before its ping; without a pong, nothing is."""
    variables = {
        "NOTIFICATIONS_PING_INTERVAL": "1",
        "NOTIFICATIONS_PONG_TIMEOUT": "0.9",
        "NOTIFICATIONS_CHECK_INTERVAL": "0.2",
    }
    with open_place(site, directory, command, **variables) as place:
        silent, polite = place.person(), place.person()
        mute = place.client(silent, answers_pings=False)
        assert mute.connect()["ping"] == 1
        client = place.connected(polite)
        for person in (silent, polite):
            place.other.run(jobs.notify_user, person.id, ["one", "two"])
        client.wait_for_titles(["one", "two"])
        wait_for_delivered(place, polite, 2)
        assert mute.wait_closed() == 3012
        assert mute.titles == ["one", "two"]
        assert place.other.run(jobs.delivered, silent.id, silent.channel) == 0
        assert place.connected(polite).titles == []
        place.connected(silent).wait_for_titles(["one", "two"])
        assert client.closed is None


def wait_for_delivered(place: Place, person: Person, offset: int) -> None:
    place.other.run(jobs.wait_until_delivered, person.id, person.channel, offset)


def assert_starts_over(place: Place, person: Person, client: Client) -> None:
    """Assert that the position is not recovered and that the client continues from the top."""
    known = client.titles
    result = client.connect()["subs"][person.channel]
    assert result["was_recovering"] is True
    assert "recovered" not in result
    assert "publications" not in result
    assert client.unrecovered == [person.channel]
    place.other.run(jobs.notify_user, person.id, ["and on"])
    client.wait_for_titles([*known, "and on"])
    listed = client.rpc("inbox", folder="all")["entries"]
    assert listed[0]["title"] == "and on"

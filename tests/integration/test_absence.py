"""A client that was away: what it gets when it comes back, with a position and without."""

import time

import pytest

from tests.client import Client, Position
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.servers import Site

pytestmark = pytest.mark.integration

PAGE = 300


def numbered(count: int, prefix: str = "n") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def arrive(place: Place, person: Person, titles: list[str]) -> Client:
    """A connected client that has got these titles."""
    client = place.connected(person)
    place.other.run(jobs.notify_user, person.id, titles)
    client.wait_for_titles(titles)
    return client


def test_comes_back_with_its_position(place: Place) -> None:
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


def test_comes_back_without_a_position(place: Place) -> None:
    """It gets what the user has never acknowledged, and no more."""
    person = place.person()
    client = arrive(place, person, ["one", "two"])
    client.rpc("ack", channel=person.channel, offset=1)
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["three"])
    wait_for_delivered(place, person, 1)
    fresh = place.connected(person)
    fresh.wait_for_titles(["two", "three"])


def test_nothing_is_acknowledged_by_silence(place: Place) -> None:
    person = place.person()
    arrive(place, person, ["one"]).drop()
    place.connected(person).wait_for_titles(["one"])
    place.connected(person).wait_for_titles(["one"])


def test_never_connected_before(place: Place) -> None:
    person = place.person()
    place.other.run(jobs.notify_user, person.id, ["first"])
    place.other.run(jobs.broadcast_to, "everyone", ["for all"])
    client = place.connected(person)
    client.wait_for_count(2)
    assert sorted(client.titles) == ["first", "for all"]
    assert client.rpc("unread") == {"unread": 2}


def test_long_backlog_arrives_in_order(place: Place) -> None:
    """One page in the reply, the rest as pushes; the reply's offset is that of its last one."""
    person = place.person()
    titles = numbered(1000)
    place.other.run(jobs.notify_in_bulk, person.id, titles)
    client = place.client(person)
    result = client.connect()["subs"][person.channel]
    assert result["offset"] == PAGE
    assert len(result["publications"]) == PAGE
    client.wait_for_titles(titles)
    assert client.offsets == list(range(1, 1001))


def test_dropped_in_the_middle_of_a_backlog(place: Place) -> None:
    """It resumes exactly where its record ends: at the reply's position, or after the pushes."""
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


def test_only_the_reply_was_heard(place: Place) -> None:
    """What an SDK stores that dies after the connect reply: nothing may lie between."""
    person = place.person()
    place.other.run(jobs.notify_in_bulk, person.id, numbered(400))
    first = place.client(person)
    result = first.connect()["subs"][person.channel]
    second = place.client(person)
    second.positions = {person.channel: Position(result["epoch"], result["offset"])}
    second.connect()
    second.wait_for_titles(numbered(400)[len(result["publications"]) :])


def test_pruned_position(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one"])
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["two", "three", "four"])
    place.other.run(jobs.prune, person.channel, 3)
    assert_starts_over(place, person, client)


def test_position_at_the_floor_is_served(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one", "two"])
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["three"])
    place.other.run(jobs.prune, person.channel, 2)
    client.connect()
    client.wait_for_titles(["one", "two", "three"])
    assert client.unrecovered == []


def test_position_of_another_epoch(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one"])
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["two"])
    client.positions[person.channel] = Position("ffff", 1)
    assert_starts_over(place, person, client)


def test_epoch_changes_while_connected(place: Place) -> None:
    """The history was reset: the client is sent away, and told that it has to start over."""
    person = place.person()
    client = arrive(place, person, ["one"])
    place.other.run(jobs.reset_epoch, person.channel)
    assert client.wait_closed() == 3010
    assert_starts_over(place, person, client)


def test_position_beyond_the_top(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one"])
    client.drop()
    epoch = client.positions[person.channel].epoch
    client.positions[person.channel] = Position(epoch, 1000)
    assert_starts_over(place, person, client)


def test_position_of_a_stream_that_is_not_his(place: Place) -> None:
    person, stranger = place.person(), place.person()
    theirs = arrive(place, stranger, ["secret"])
    client = place.client(person)
    epoch = theirs.positions[stranger.channel].epoch
    client.positions = {stranger.channel: Position(epoch, 0), "staff": Position(epoch, 0)}
    assert set(client.connect()["subs"]) == {person.channel, "broadcast"}
    assert client.titles == []


def test_second_device_does_not_lack_what_the_first_has_acknowledged(place: Place) -> None:
    """The server's position is the user's; one that shows its own gets all that it lacks."""
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


def test_acknowledgement_of_what_was_not_sent_is_refused(place: Place) -> None:
    person = place.person()
    client = arrive(place, person, ["one"])
    for offset in (2, 10**15, -1):
        data = {"channel": person.channel, "offset": offset}
        assert client.error(rpc={"method": "ack", "data": data}) == 107
    assert place.other.run(jobs.delivered, person.id, person.channel) == 0


@pytest.mark.parametrize("command", ["serve", "runserver"])
def test_pong_acknowledges(site: Site, directory, command: str) -> None:
    """All that was written before a ping has arrived when its pong comes; without one, nothing."""
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
    deadline = time.monotonic() + 10
    while place.other.run(jobs.delivered, person.id, person.channel) != offset:
        assert time.monotonic() < deadline, "the acknowledgement is not written"
        time.sleep(0.05)


def assert_starts_over(place: Place, person: Person, client: Client) -> None:
    """The position cannot be served: the client is told, and goes on from the top."""
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

"""PostgreSQL stops, restarts or hangs: what clients, callers and the log see of it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.postgres import Postgres
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

#: Id of the command whose reply is not awaited at once.
LATE = 9000


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    postgres = Postgres(keeps_commits=True).start()
    yield postgres
    postgres.close()


@pytest.fixture
def place(site: Site, directory: Path, postgres: Postgres) -> Iterator[Place]:
    variables = {"NOTIFICATIONS_PING_INTERVAL": "2", "NOTIFICATIONS_PONG_TIMEOUT": "1.5"}
    with open_place(site, directory, DATABASE_URL=postgres.url, **variables) as place:
        yield place


def history(client: Client, person: Person) -> dict[str, object]:
    return client.ask(history={"channel": person.channel, "limit": 10})


def history_command(person: Person) -> str:
    """The ``history`` command as text, to send without waiting for the reply."""
    command = {"id": LATE, "history": {"channel": person.channel, "limit": 10}}
    return json.dumps(command)


def code(reply: dict[str, object]) -> int:
    error = reply.get("error", {})
    assert isinstance(error, dict)
    assert not error or error["temporary"] is True
    return int(error.get("code", 0))


def test_sockets_survive_an_outage_and_delivery_continues_after_it(
    place: Place, postgres: Postgres
) -> None:
    people = [place.person() for _ in range(5)]
    clients = [place.connected(person) for person in people]
    person, client = people[0], clients[0]
    late = place.person()
    place.other.run(jobs.notify_user, person.id, ["before"])
    client.wait_for_titles(["before"])

    postgres.stop()
    try:
        client.rpc("ack", channel=person.channel, offset=1)
        wait_until(lambda: "The database is unavailable" in place.log, "noticing")
        for each, reader in zip(people, clients, strict=True):
            assert code(history(reader, each)) == 100
        newcomer = place.client(late).open()
        assert code(newcomer.try_connect()) == 100
        with pytest.raises(AssertionError, match="OperationalError"):
            place.other.run(jobs.notify_user, person.id, ["never written"])
        time.sleep(3)  # each loop of the hub fails at least once: the slowest runs every second
        assert code(history(client, person)) == 100
    finally:
        postgres.start()

    wait_until(lambda: code(history(client, person)) == 0, "an answer")
    assert "connect" in newcomer.try_connect(), "over the same socket"
    wait_until(
        lambda: place.other.run(jobs.delivered, person.id, person.channel) == 1,
        "the acknowledgement",
    )
    place.other.run(jobs.notify_user, person.id, ["after"])
    place.other.run(jobs.notify_user, late.id, ["welcome"])
    client.wait_for_titles(["before", "after"])
    newcomer.wait_for_titles(["welcome"])
    assert place.other.run(jobs.titles, person.channel) == ["before", "after"]
    assert [each.closed for each in [*clients, newcomer]] == [None] * 6
    wait_until(lambda: place.other.run(jobs.connections) == 6, "the list of connections")
    wait_until(lambda: "The database is available again." in place.log, "its end in the log")
    about = [line for line in place.log.splitlines() if "database" in line.lower()]
    assert len(about) == 2, about
    assert len([line for line in place.log.splitlines() if " WARNING " in line]) == 1, place.log


def test_a_restart_during_a_transaction_fails_the_caller_and_leaves_nothing(
    place: Place, postgres: Postgres, tmp_path: Path
) -> None:
    person = place.person()
    client = place.connected(person)
    beside = place.add_other()
    place.other.begin(jobs.notify_in_a_long_transaction, person.id, "half done", str(tmp_path))
    client.wait((tmp_path / "written").exists, "the notification to be written")
    assert beside.run(jobs.titles, person.channel) == []
    postgres.stop()
    postgres.start()
    (tmp_path / "commit").touch()
    with pytest.raises(AssertionError, match=r"OperationalError|InterfaceError"):
        place.other.finish()
    place.other.run(jobs.notify_user, person.id, ["again"])
    client.wait_for_titles(["again"])
    assert client.offsets == [1]
    assert place.other.run(jobs.titles, person.channel) == ["again"]


def test_database_connections_ended_by_a_restart_are_replaced_without_errors(
    place: Place, postgres: Postgres
) -> None:
    """Connections are checked before use, so a restart between commands causes no error."""
    person = place.person()
    client = place.connected(person)
    for number in range(3):
        assert code(history(client, person)) == 0
        postgres.stop()
        postgres.start()
        place.other.run(jobs.notify_user, person.id, [f"n{number}"])
        client.wait_for_titles([f"n{each}" for each in range(number + 1)])
        assert code(history(client, person)) == 0
    assert client.closed is None


def test_a_hanging_database_delays_commands_and_closes_no_socket(
    place: Place, postgres: Postgres
) -> None:
    """Only commands that need the database wait. Pings and acknowledgements are answered."""
    people = [place.person() for _ in range(6)]
    clients = [place.connected(person) for person in people]
    person, client = people[0], clients[0]
    place.other.run(jobs.notify_user, person.id, ["before"])
    client.wait_for_titles(["before"])
    postgres.freeze()
    try:
        pings = client.pings
        for each, reader in zip(people[1:], clients[1:], strict=True):
            reader.send_text(history_command(each))
        client.rpc("ack", channel=person.channel, offset=1)
        place.other.begin(jobs.notify_user, person.id, ["meanwhile"])
        # Longer than the pong timeout: sockets without a waiting command have answered two pings.
        wait_until(lambda: client.pings > pings + 2, "three pings")
        assert client.titles == ["before"]
    finally:
        postgres.thaw()
    place.other.finish()
    client.wait_for_titles(["before", "meanwhile"])
    for reader in clients[1:]:
        # The command that needed a new database connection may have failed, but has been answered.
        assert code(reader.reply(LATE)) in {0, 100}
    wait_until(
        lambda: place.other.run(jobs.delivered, person.id, person.channel) >= 1,
        "the acknowledgement",
    )
    assert [each.closed for each in clients] == [None] * 6

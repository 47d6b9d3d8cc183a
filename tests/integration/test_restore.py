"""A backup is restored while clients are connected to two workers (P8)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import PATIENCE, Client
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.integration.processes import Redis
from tests.postgres import Postgres
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

KEPT = [f"kept {number}" for number in range(4)]
LOST = [f"lost {number}" for number in range(6)]
NEW = [f"new {number}" for number in range(9)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    postgres = Postgres().start()
    yield postgres
    postgres.close()


@pytest.fixture(params=["with hints", "without hints"])
def place(
    request: pytest.FixtureRequest, site: Site, directory: Path, postgres: Postgres, redis: Redis
) -> Iterator[Place]:
    """Two workers; without Redis they get no hints of what others publish."""
    variables = {"DATABASE_URL": postgres.url}
    if request.param == "with hints":
        variables["REDIS_URL"] = redis.url
    with open_place(site, directory, **variables) as place:
        place.add_server()
        yield place


def publish(place: Place, person: Person, titles: list[str]) -> None:
    place.other.run(jobs.notify_user, person.id, titles)


def test_p8_clients_are_told_when_a_backup_is_restored(place: Place) -> None:
    person = place.person()
    channel = person.channel
    clients = [place.connected(person, server=server) for server in place.servers]
    publish(place, person, KEPT)
    for client in clients:
        client.wait_for_titles(KEPT)
        client.rpc("ack", channel=channel, offset=4)
    wait_until(lambda: place.other.run(jobs.delivered, person.id, channel) == 4, "the flush")
    place.other.run(jobs.back_up)
    publish(place, person, LOST)
    for client in clients:
        client.wait_for_titles([*KEPT, *LOST])
        client.rpc("ack", channel=channel, offset=10)

    before = place.other.run(jobs.epochs)[channel]
    place.other.run(jobs.restore)
    publish(place, person, NEW)

    for client in clients:
        assert client.wait_closed(PATIENCE) == 3010
        assert client.titles == [*KEPT, *LOST], "nothing of another history"
    after = place.other.run(jobs.epochs)[channel]
    assert after != before
    for client in clients:
        reply = client.connect()["subs"][channel]
        assert reply["was_recovering"] is True
        assert reply.get("recovered", False) is False
        assert channel in client.unrecovered
        inbox = client.rpc("inbox", limit=20)
        assert [entry["title"] for entry in inbox["entries"]] == [*KEPT, *NEW][::-1]
    fresh = place.connected(person)
    fresh.wait_for_titles(NEW, PATIENCE)
    publish(place, person, ["as ever"])
    for client in clients:
        client.wait_for_titles([*KEPT, *LOST, "as ever"], PATIENCE)
    fresh.wait_for_titles([*NEW, "as ever"], PATIENCE)
    assert place.other.run(jobs.epochs)[channel] == after, "once, not once for each worker"
    if "REDIS_URL" in place.env:
        assert_renew_epochs_is_required(place, [*clients, fresh])


def assert_renew_epochs_is_required(place: Place, clients: list[Client]) -> None:
    """Assert that the operator is told to run renew_epochs, for streams without readers too."""
    check = ("check", "--database", "default")
    wait_until(lambda: "manage.py renew_epochs" in place.log, "a line in the log")
    assert "W011" in place.server.manage(*check).stderr
    before = place.other.run(jobs.epochs)
    said = place.server.manage("renew_epochs").stdout
    assert f"Renewed the epochs of {len(before)} streams" in said
    assert not before.items() & place.other.run(jobs.epochs).items()
    for client in clients:
        assert client.wait_closed(PATIENCE) == 3010
        client.connect()
    assert "W011" not in place.server.manage(*check).stderr

"""deploy/postgresql/partition-notifications.sql, applied to the PostgreSQL of a real site."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.postgres import running_postgres
from tests.sites import ROOT, Site

pytestmark = pytest.mark.integration

SCRIPT = ROOT / "deploy" / "postgresql" / "partition-notifications.sql"


@pytest.fixture
def postgres_place(site: Site, tmp_path: Path) -> Iterator[tuple[Place, str]]:
    with (
        running_postgres() as url,
        open_place(site, tmp_path, DATABASE_URL=url, NOTIFICATIONS_CHECK_INTERVAL="0.5") as place,
    ):
        yield place, url


def test_history_continues_in_partitions(postgres_place: tuple[Place, str]) -> None:
    place, url = postgres_place
    people = [place.person() for _ in range(8)]
    clients = [place.connected(person) for person in people]
    for person, client in zip(people, clients, strict=True):
        place.other.run(jobs.notify_user, person.id, ["before"])
        client.wait_for_titles(["before"])
        client.drop()
        place.other.run(jobs.notify_user, person.id, ["missed"])
    place.server.stop()

    with psycopg.connect(url) as connection:
        # Without parameters, because psycopg would then interpret the percent signs of format().
        connection.execute(SCRIPT.read_bytes())
    place.server.start()

    for person, client in zip(people, clients, strict=True):
        place.other.run(jobs.notify_user, person.id, ["while away"])
        client.connect()
        place.other.run(jobs.notify_user, person.id, ["after"])
        client.wait_for_titles(["before", "missed", "while away", "after"])
        assert client.offsets == [1, 2, 3, 4]
        assert place.other.run(jobs.unread, person.id) == 4
    assert len(_used_partitions(url)) > 1
    assert place.server.manage("makemigrations", "--check", "--dry-run").returncode == 0


def _used_partitions(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT DISTINCT tableoid::regclass::text FROM notifications_notification"
        )
        return {name for (name,) in rows}


def test_unique_constraints_hold_across_partitions(postgres_place: tuple[Place, str]) -> None:
    place, url = postgres_place
    person = place.person()
    place.other.run(jobs.notify_user, person.id, ["one", "two"])
    with psycopg.connect(url) as connection:
        connection.execute(SCRIPT.read_bytes())
    copy = (
        "INSERT INTO notifications_notification SELECT (json_populate_record(found, '{}')).* "
        "FROM notifications_notification AS found"
    )
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(copy.replace("'{}'", """'{"id": 99}'"""))
    for _ in range(2):
        place.server.manage("notify", person.name, "three", "--key", "same")
    assert place.other.run(jobs.offsets, person.channel) == [1, 2, 3]


def test_a_placed_notification_moves_to_its_partition(postgres_place: tuple[Place, str]) -> None:
    place, url = postgres_place
    person = place.person()
    with psycopg.connect(url) as connection:
        connection.execute(SCRIPT.read_bytes())
    names = [f"topic:{number}" for number in range(8)]
    for name in names:
        place.other.run(jobs.broadcast_to, name, ["new"])
        assert place.other.run(jobs.offsets, name) == [1]
    assert len(_used_partitions(url)) > 1
    # Deleting a user deletes notifications in every partition.
    place.other.run(jobs.notify_user, person.id, ["later"], 3600)
    place.other.run(jobs.delete_user, person.id)
    assert place.other.run(jobs.titles, person.channel) == []

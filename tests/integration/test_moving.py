"""A site moves from SQLite to PostgreSQL by dumpdata and loaddata, and its clients reconnect."""

from functools import partial
from pathlib import Path

import pytest

from tests.client import Client
from tests.integration import jobs
from tests.integration.places import open_place
from tests.postgres import running_postgres
from tests.sites import Site, manage

pytestmark = pytest.mark.integration


def ends_with(device: Client, titles: list[str]) -> bool:
    return device.titles[-len(titles) :] == titles


def test_clients_recover_after_dumpdata_and_loaddata_into_another_database(
    site: Site, directory: Path
) -> None:
    dump = directory / "site.json"
    titles, new = [f"n{number}" for number in range(6)], ["after", "to all of us"]
    with running_postgres() as url, open_place(site, directory) as place:
        gone, person, colleague = (place.person() for _ in range(3))
        group = place.other.run(jobs.make_group, "colleagues", [gone.id, person.id, colleague.id])
        client, newer = place.connected(person), place.client(person)
        place.other.run(jobs.notify_user, person.id, titles)
        client.wait_for_count(6)
        client.rpc("read", ids=[client.publications[0].data["id"]])
        place.other.run(jobs.delete_user, gone.id)
        client.drop()
        place.other.run(jobs.notify_user, person.id, ["missed"])
        unread = place.other.run(jobs.unread, person.id)
        place.server.stop()
        place.server.manage("dumpdata", "--output", str(dump))

        env = {**place.env, "DATABASE_URL": url}
        manage("migrate", "--verbosity", "0", env=env)
        manage("loaddata", str(dump), env=env)
        server, other = place.add_server(env), place.add_other(env)
        assert other.run(jobs.unread, person.id) == unread
        for device in (client, newer):
            device.url = server.socket_url
        assert client.connect()["subs"][person.channel]["recovered"]
        client.wait_for_titles([*titles, "missed"])
        newer.connect()
        other.run(jobs.notify_user, person.id, ["after"])
        other.run(jobs.broadcast_to, f"group:{group}", ["to all of us"])
        for device in (client, newer):
            device.wait(partial(ends_with, device, new), f"{new}")
        mine = [one.offset for one in client.publications if one.channel == person.channel]
        assert mine == list(range(1, 9))
        assert other.run(jobs.unread, person.id) == unread + 2

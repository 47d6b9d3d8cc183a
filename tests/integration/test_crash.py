"""The server is killed with SIGKILL while publications are on their way (P1, P3)."""

import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.client import PATIENCE, Client, ReconnectingClient
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

KILLS = 3

#: Titles by channel, in the order in which they were published.
Published = dict[str, list[str]]


class Verdict(NamedTuple):
    """What one device has received, compared with what was published."""

    user: str
    connections: int
    received: int
    lost: int
    duplicated: int
    misordered: int


def test_sigkill_loses_and_duplicates_nothing(
    site: Site, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_place(site, directory) as place:
        people = [place.person() for _ in range(3)]
        devices = [
            (person, ReconnectingClient(place.client(person)))
            for person in people
            for _ in range(2)
        ]
        publishing = Publishing(place, people)
        for _ in range(KILLS):
            publishing.wait_for_more(35)
            place.server.kill()
            publishing.wait_for_more(5)
            place.server.start()
        publishing.wait_for_more(10)
        published = publishing.stop()
        verdicts = [judge(person, device, published) for person, device in devices]
        for _, device in devices:
            device.stop()
        with capsys.disabled():
            show(verdicts)
        for verdict in verdicts:
            assert verdict.connections > KILLS
            assert verdict.received > 100
            assert (verdict.lost, verdict.duplicated, verdict.misordered) == (0, 0, 0)


class Publishing:
    """Publishes from another process until stopped: private notifications and some broadcasts."""

    def __init__(self, place: Place, people: list[Person]) -> None:
        self._other = place.add_other()
        self._people = people
        self._published: Published = {person.channel: [] for person in people}
        self._published["broadcast"] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for_more(self, count: int) -> None:
        """Wait until ``count`` more have been published to each person."""
        enough = self._rounds() + count
        wait_until(lambda: self._rounds() >= enough, "the publishing process hangs")

    def _rounds(self) -> int:
        return min(len(self._published[person.channel]) for person in self._people)

    def stop(self) -> Published:
        self._stopped.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the publishing process hangs"
        return self._published

    def _run(self) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            for person in self._people:
                self._other.run(jobs.notify_user, person.id, [f"n{number}"])
                self._published[person.channel].append(f"n{number}")
            if number % 10 == 0:
                self._other.run(jobs.broadcast_to, "everyone", [f"b{number}"])
                self._published["broadcast"].append(f"b{number}")
            time.sleep(0.02)


def judge(person: Person, device: ReconnectingClient, published: Published) -> Verdict:
    """Wait for all publications, or until time is up, and count the faults."""
    client = device.client
    expected = {name: published[name] for name in (person.channel, "broadcast")}
    wait_for_all(client, sum(map(len, expected.values())))
    lost = duplicated = misordered = 0
    for name, titles in expected.items():
        got = [item.data["title"] for item in client.publications if item.channel == name]
        lost += len(set(titles) - set(got))
        duplicated += sum(count - 1 for count in Counter(got).values())
        misordered += got != [title for title in titles if title in set(got)]
    return Verdict(
        person.name, device.connects, len(client.publications), lost, duplicated, misordered
    )


def wait_for_all(client: Client, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(client.publications) < count and time.monotonic() < deadline:
        time.sleep(0.05)


def show(verdicts: list[Verdict]) -> None:
    rows = [Verdict._fields, *verdicts]
    lines = ["  ".join(f"{value!s:>11}" for value in row) for row in rows]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")

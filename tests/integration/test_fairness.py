"""A user who sends as many commands as possible delays nobody else (P9)."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

#: The greedy user's number of sockets, and of pending commands on each.
SOCKETS = 60
UNDER_WAY = 5

#: The most expensive command.
EXPENSIVE = {"rpc": {"method": "inbox", "data": {"folder": "all", "limit": 100}}}


class Flood:
    """Sends commands of one user on many sockets at once, until :meth:`end`."""

    def __init__(self, url: str, person: Person) -> None:
        self._url = url
        self._person = person
        self._end = threading.Event()
        self.answered = 0
        self.refused: Counter[int] = Counter()
        self.connects = 0

    def run(self) -> None:
        asyncio.run(self._run())

    def end(self) -> None:
        self._end.set()

    async def _run(self) -> None:
        await asyncio.gather(*(self._go_on() for _ in range(SOCKETS)))

    async def _go_on(self) -> None:
        while not self._end.is_set():
            with suppress(WebSocketException, OSError, TimeoutError):
                await self._ask()
            await asyncio.sleep(0.1)

    async def _ask(self) -> None:
        async with connect(self._url, compression=None, max_size=None, proxy=None) as socket:
            await socket.send(json.dumps({"id": 1, "connect": {"token": self._person.token}}))
            number, under_way = 1, 0
            while not self._end.is_set():
                while under_way < UNDER_WAY and number > 1:
                    await socket.send(json.dumps({"id": number, **EXPENSIVE}))
                    number, under_way = number + 1, under_way + 1
                async with asyncio.timeout(30):
                    frame = await socket.recv(decode=True)
                for reply in map(json.loads, frame.split("\n")):
                    if reply.get("id") == 1:
                        if "error" in reply:
                            self.refused[reply["error"]["code"]] += 1
                            return
                        number, self.connects = 2, self.connects + 1
                    elif "id" in reply:
                        under_way -= 1
                        self._count(reply)
                    elif not reply:
                        await socket.send("{}")
                if "error" in frame:
                    await asyncio.sleep(0.05)  # as an SDK after a temporary error

    def _count(self, reply: dict[str, dict[str, int]]) -> None:
        if "error" in reply:
            self.refused[reply["error"]["code"]] += 1
        else:
            self.answered += 1


@contextmanager
def flooding(place: Place, person: Person) -> Iterator[Flood]:
    flood = Flood(place.server.socket_url, person)
    thread = threading.Thread(target=flood.run)
    thread.start()
    try:
        yield flood
    finally:
        flood.end()
        thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def lone_place(site: Site, tmp_path: Path) -> Iterator[Place]:
    with open_place(site, tmp_path) as place:
        yield place
        place.tidy()


def wait(flood: Flood, count: int) -> None:
    wait_until(
        lambda: flood.answered >= count and flood.refused,
        lambda: f"{flood.answered} answers, {flood.refused}",
    )


def test_p9_a_user_with_sixty_busy_sockets_prevents_nobody_from_connecting(
    lone_place: Place,
) -> None:
    place = lone_place
    greedy = place.person()
    place.other.run(jobs.notify_user, greedy.id, [f"number {n}" for n in range(100)])
    others = [place.person() for _ in range(20)]
    with flooding(place, greedy) as flood:
        wait(flood, 10)
        clients = [place.connected(person) for person in others]
        # Commands of the others are answered, and notifications reach them.
        for client in clients:
            assert client.rpc("inbox")["entries"] == []
        place.other.run(jobs.broadcast_to, "everyone", ["for all"])
        for client in clients:
            client.wait_for_titles(["for all"])
        assert all(client.closed is None for client in clients)
    # The greedy user gets the temporary error 111, too many requests.
    assert set(flood.refused) == {111}
    assert place.tracebacks() == ""

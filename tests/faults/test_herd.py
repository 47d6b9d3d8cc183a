"""All clients reconnect in the same second."""

import asyncio
import json
import os
import time
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.client import Received
from tests.faults.conftest import Survived
from tests.faults.ledger import Seen
from tests.faults.stage import PATIENCE, Stage, running
from tests.integration import jobs

pytestmark = pytest.mark.integration

HERD = 2000 if os.environ.get("SOAK") else 300


class Member:
    """A cheap client that connects with its position and keeps what it receives."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.position: dict[str, Any] | None = None
        self.publications: list[Received] = []
        self._socket: ClientConnection | None = None

    async def connect(self) -> None:
        request: dict[str, Any] = {"token": self.token}
        if self.position is not None:
            request["subs"] = {"broadcast": {"recover": True, **self.position}}
        self._socket = await connect(
            self.url, proxy=None, compression=None, ping_interval=None, open_timeout=PATIENCE
        )
        await self._socket.send(json.dumps({"id": 1, "connect": request}))
        result = await self._take_until_connected(self._socket)
        assert self.position is None or result["recovered"], "the position was not served"
        for publication in result.get("publications", ()):
            self._keep(publication)
        self.position = {"epoch": result["epoch"], "offset": result.get("offset", 0)}

    async def _take_until_connected(self, socket: ClientConnection) -> dict[str, Any]:
        while True:
            reply = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))
            if "connect" in reply:
                return dict(reply["connect"]["subs"]["broadcast"])

    def drop(self) -> None:
        assert self._socket is not None
        self._socket.transport.abort()

    def _keep(self, publication: dict[str, Any]) -> None:
        received = Received(
            "broadcast", publication["offset"], publication["data"], time.monotonic()
        )
        self.publications.append(received)


async def come_and_go(stage: Stage, tokens: list[str]) -> list[Member]:
    """Connect all, drop all, publish ten broadcasts, and reconnect all at once."""
    urls = [worker.socket_url for worker in stage.workers]
    herd = [
        Member(urls[number // len(tokens) % len(urls)], tokens[number % len(tokens)])
        for number in range(HERD)
    ]
    for start in range(0, HERD, 100):
        await asyncio.gather(*(member.connect() for member in herd[start : start + 100]))
    for member in herd:
        member.drop()
    titles = [f"missed {number}" for number in range(10)]
    await asyncio.to_thread(stage.publishers[0].run, jobs.broadcast_to, "everyone", titles)
    await asyncio.gather(*(member.connect() for member in herd))
    for member in herd:
        member.drop()
    return herd


def test_p1_a_herd_that_comes_back_at_once_gets_what_it_missed(
    stage: Stage, survived: Survived
) -> None:
    # A worker accepts a hundred connections of one user.
    with running(stage, people=max(4, HERD // 100), devices=1) as run:
        herd = asyncio.run(come_and_go(stage, [person.token for person in run.people]))
        run.committed["broadcast"] = [f"missed {number}" for number in range(10)]
        members = [Seen("broadcast", member.publications) for member in herd]
        run.seen_by_others = lambda: members
        survived(run)

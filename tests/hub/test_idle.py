"""What a process does while nothing happens does not grow with its connections."""

import asyncio
from typing import Any

import pytest

from notifications.database.lanes import TICKER, in_database
from notifications.hub import Hub
from notifications.hub.rights_rounds import PARTS, RightsRounds
from notifications.publishing.sequencing import sequence_waiting
from tests.hub.helpers import counted_statements, peer_of
from tests.peers import running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


async def one_interval(hub: Hub) -> None:
    """Run each kind of background work as often as all users are checked once."""
    rounds = RightsRounds(hub.connections, hub.rights)
    for _ in range(PARTS):
        await rounds.check_part()
        await hub.position_check.run()
        await hub.maintain_groups()
        await hub.flush()
        await hub.beginnings.retry()
        await TICKER.run(sequence_waiting)
    await until(lambda: hub.rights.is_idle)


async def connect(count: int, known: int) -> None:
    def make() -> list[Any]:
        return [make_user(f"user {known + number}") for number in range(count)]

    users = await in_database(make)
    for start in range(0, count, 50):
        await asyncio.gather(*(peer_of(user) for user in users[start : start + 50]))


async def test_a_thousand_idle_streams_cause_as_many_statements_as_ten(settings: Any) -> None:
    used: list[int] = []
    async with running_hub(settings, PING_INTERVAL=3600.0, CONNECT_TIMEOUT=60.0) as hub:
        for count in (10, 989):  # each user has a stream, and all have the broadcasts
            await connect(count, len(hub.connections.all))
            for _ in range(3):  # two rounds find that nothing has changed since the connects
                await one_interval(hub)
            with counted_statements("") as statements:
                await one_interval(hub)
            used.append(len(statements))
        assert len(hub.streams.by_name) == 1000
    few, many = used
    assert many == few

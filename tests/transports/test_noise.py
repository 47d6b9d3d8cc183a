"""Random requests are answered, never fatal (P7)."""

import json
import logging
import random
from typing import Any

import pytest

from notifications.hub import Hub
from tests.transports.requests import Emulated, Request
from tests.transports.test_endpoint import PATHS

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 60


def some_value(chance: random.Random, depth: int = 0) -> Any:
    """Return a value of any JSON type; small numbers of depth, so that most are short."""
    kind = chance.randrange(8 if depth < 3 else 6)
    if kind == 6:
        return [some_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        names = ("id", "connect", "token", "subs", "session", "node", "data", "broadcast", "epoch")
        return {chance.choice(names): some_value(chance, depth + 1) for _ in range(4)}
    return [None, True, chance.randrange(-(2**70), 2**70), 1e400, "\ud800\0", "x" * 300][kind]


def some_bytes(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(200))
    return json.dumps(some_value(chance)).encode()


@pytest.mark.parametrize("seed", range(3))
async def test_random_requests_are_answered(
    hub: Hub, token: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    bystander = await Emulated.connect(token)
    for _ in range(ROUNDS):
        path = chance.choice(PATHS)
        method = chance.choice(["GET", "POST", "POST", "OPTIONS"])
        headers = [(b"last-event-id", some_bytes(chance))] if chance.random() < 0.5 else []
        request = Request(path, some_bytes(chance), method=method, headers=headers)
        request.scope["query_string"] = b"cf_connect=" + some_bytes(chance)
        request.hang_up()
        await request.ended()
        assert request.status != 500, request.scope
    assert (await bystander.call(ping={}))["ping"] == {}
    await bystander.stream.end()
    assert not hub.connections.all
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_random_frames_do_not_harm_others(hub: Hub, token: str) -> None:
    chance = random.Random(7)
    bystander = await Emulated.connect(token)
    for _ in range(ROUNDS):
        client = await Emulated.connect(token)
        await client.send(some_bytes(chance).decode(errors="replace"))
        await client.stream.end()
    assert (await bystander.call(ping={}))["ping"] == {}
    await bystander.stream.end()

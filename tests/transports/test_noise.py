"""Random requests are answered, never fatal (P7)."""

import json
import logging
import os
import random
from typing import Any

import pytest

from notifications.hub import Hub
from notifications.protocol import client_pb2 as pb
from tests.peers import until
from tests.transports.requests import Emulated, Request, answered
from tests.transports.test_emulated import BINARY, framed, replies
from tests.transports.test_endpoint import PATHS
from tests.wire_forms import field, whole

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 60

#: The first seed; another value tries other requests.
SEED = int(os.environ.get("SEED", "0"))


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


def some_message(chance: random.Random, depth: int = 0) -> bytes:
    """Return a message of Protobuf with any fields, or bytes that nearly are one."""
    fields = b""
    for _ in range(chance.randrange(5)):
        number = chance.choice([1, 1, 2, 3, 4, chance.randrange(1, 30)])
        if depth < 3 and chance.random() < 0.5:
            fields += field(number, some_message(chance, depth + 1))
        else:
            contents: list[bytes | int] = [0, 1, -1, 2**64 - 1, some_bytes(chance)]
            fields += field(number, chance.choice(contents))
    if chance.random() < 0.1:
        place = chance.randrange(len(fields) + 1)
        return fields[:place] + chance.randbytes(2) + fields[place + 1 :]
    return fields


def some_frame(chance: random.Random) -> bytes:
    """Return a few commands of Protobuf, or bytes that nearly are some."""
    messages = [whole(field(1, 7) + some_message(chance)) for _ in range(chance.randrange(4))]
    frame = b"".join(messages)
    return frame if chance.random() < 0.8 else frame[: chance.randrange(len(frame) + 1)]


def some_extreme_request(chance: random.Random) -> bytes:
    """Return a valid connect request with data that some decoders refuse."""
    data = chance.choice(["1" * 5000, "[" * 900 + "]" * 900, "1e999", "null", '{"":[]}'])
    return chance.choice([b"", b" \n", b"null", f'{{"data":{data},"subs":{{}}}}'.encode()])


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
async def test_random_requests_are_answered(
    hub: Hub, token: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    bystander = await Emulated.connect(token)
    for _ in range(ROUNDS):
        path = chance.choice(PATHS)
        method = chance.choice(["GET", "POST", "POST", "OPTIONS"])
        last = chance.choice([b"{}", b'{"broadcast":["",3]}', some_bytes(chance)])
        headers = [(b"last-event-id", last)] if chance.random() < 0.5 else []
        body = chance.choice([some_bytes, some_extreme_request])(chance)
        if chance.random() < 0.3:
            headers += BINARY
            body = chance.choice([some_message, some_frame])(chance)
        request = Request(path, body, method=method, headers=headers)
        request.scope["query_string"] = b"cf_connect=" + some_bytes(chance)
        request.hang_up()
        await request.ended()
        assert request.status != 500, request.scope
    assert (await bystander.call(ping={}))["ping"] == {}
    await bystander.stream.end()
    assert not hub.connections.all
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
async def test_random_bytes_of_a_protobuf_client_are_answered(
    hub: Hub, token: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    bystander = await Emulated.connect(token)
    connect = framed(pb.Command(id=1, connect=pb.ConnectRequest(token=token)))
    for _ in range(ROUNDS // 3):
        stream = Request("/connection/http_stream", connect, headers=BINARY)
        await until(lambda: stream.body, "the reply")  # noqa: B023
        (reply,) = replies(stream.body)
        names = {"node": reply.connect.node, "session": reply.connect.session}
        for _ in range(5):
            sent = pb.EmulationRequest(**names, data=some_frame(chance)).SerializeToString()
            answer = await answered("/emulation", sent, headers=BINARY)
            assert answer.status in {204, 404}
            if chance.random() < 0.3:  # for a session that may not exist, with any fields
                await answered("/emulation", sent + some_message(chance), headers=BINARY)
        await stream.end()
        assert replies(stream.body)  # whole messages, to the end
    assert (await bystander.call(ping={}))["ping"] == {}
    await bystander.stream.end()
    assert not hub.connections.all
    assert not hub.emulation._sessions
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

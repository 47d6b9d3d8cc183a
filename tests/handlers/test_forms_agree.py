"""Random commands get the same answers in both forms, and none is fatal (P7)."""

import json
import os
import random
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from notifications import publish
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.protocol import client_pb2 as pb
from tests.peers import Peer, running_hub, until
from tests.rooms import make_user
from tests.wire_forms import JSON, PROTOBUF, whole

pytestmark = pytest.mark.django_db(transaction=True)

#: The first seed; another value tries other commands.
SEED = int(os.environ.get("SEED", "0"))
COMMANDS = 250

NAMESPACES: dict[str, dict[str, Any]] = {
    "chat": {
        "durable": True,
        "publish": "subscribers",
        "presence": "subscribers",
        "join_leave": True,
    },
    "typing": {"publish": "authenticated", "presence": "authenticated", "show_names": True},
    "closed": {"durable": True, "subscribe": "token", "history": "nobody"},
}

#: JSON that is valid: numbers beyond those of JavaScript, depth, doubled names, escapes.
EXTREME = (
    *("null", "true", "-0", "1e308", "1e999", "-1e-999", "9007199254740993", "1" * 400, "2" * 5000),
    *("[" * 60 + "]" * 60, "[" * 900 + "]" * 900, '{"a":1,"a":{"a":2}}', r'"\ud83d\ude00\u0000"'),
    *('{"":""}', '{"title":"' + "é" * 300 + '"}', '{"ids":[' + "1," * 2000 + "1]}", '"x"'),
    *('{"channel":"chat:1","offset":3}', '{"ids":[1,2]}', '{"folder":"all","limit":3}', "{}"),
    *('{"title":"one"}', '"' + "x" * 17_000 + '"'),
)

#: Names of every shape. <n> stands for the number of the client, whose channels are its own.
CHANNELS = (
    *("closed:<n>", "topic:t<n>", "user:<n>", "broadcast"),
    *(
        "",
        ":",
        "chat:",
        "chat",
        ":chat",
        "chat:<n>:é😀",
        "chat:\0<n>",
        "chat:\u2028<n>",
        "none:<n>",
    ),
    *(
        "node:" + "f" * 32,
        "chat:" + "<n>" * 80,
        "c" * 256,
        "CHAT:<n>",
        "staff",
        "group:1",
        "group:x",
    ),
)

NUMBERS = (0, 0, 1, 1, 2, 7, 255, 2**31 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = (
    "unread",
    "inbox",
    "",
    "a",
    "\0",
    "e30.e30.e30",
    "x" * 3000,
    "😀",
    "unread",
    "read",
    "ack",
    "inbox",
    "é",
)


#: Results and errors that must occur with every seed; if not, the commands are not varied enough.
MET = {"subscribe", "unsubscribe", "publish", "history", "rpc", 102, 103, 104, 105, 107, 108}


class Command(NamedTuple):
    """A request of this name with these fields; ``data`` is JSON, "" for none."""

    name: str
    fields: dict[str, Any]
    data: str

    def in_json(self, number: int) -> str:
        fields = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in self.fields.items()]
        fields += [f'"data":{self.data}'] if self.data else []
        return f'{{"id":{number},"{self.name}":{{{",".join(fields)}}}}}'

    def in_protobuf(self, number: int) -> bytes:
        message = pb.Command(id=number)
        request = getattr(message, self.name)
        request.SetInParent()
        for name, value in self.fields.items():
            if name == "since":
                request.since.MergeFrom(pb.StreamPosition(**value))
            else:
                setattr(request, name, value)
        if self.data:
            request.data = self.data.encode()
        return whole(message.SerializeToString())


def some_command(chance: random.Random) -> Command:
    """Return a command that both forms can express."""
    own = ["chat:<n>", "typing:<n>"]
    channel = {"channel": chance.choice([*own, chance.choice(CHANNELS)])}
    offset = chance.choice(NUMBERS)
    flags = {
        name: True for name in ("recover", "join_leave", "positioned") if chance.random() < 0.4
    }
    position = {"offset": offset, "epoch": chance.choice(["", "", "ffff", "é"])}
    token = {"token": chance.choice(TEXTS)} if chance.random() < 0.2 else {}
    limit = chance.choice([-(2**31), -1, 0, 1, 2, 500, 2**31 - 1])
    data = chance.choice(EXTREME)
    since = {"since": position} if chance.random() < 0.5 else {}
    return chance.choice(
        [
            Command("subscribe", {**channel, **flags, **position, **token}, ""),
            Command("subscribe", {**channel, "flag": chance.choice([0, 1, 2, -1])}, data),
            Command("unsubscribe", channel, ""),
            Command("publish", channel, chance.choice([data, data, ""])),
            Command("history", {**channel, **since, "limit": limit, "reverse": limit % 2 == 0}, ""),
            Command("presence", channel, ""),
            Command("presence_stats", channel, ""),
            Command("sub_refresh", {**channel, **token}, ""),
            Command("rpc", {"method": chance.choice(TEXTS)}, chance.choice([data, data, ""])),
            Command("ping", {}, ""),
        ]
    )


def outcome_of(reply: dict[str, Any]) -> Any:
    """What a client acts on: the kind of the result, or the whole error."""
    (kind,) = reply.keys() - {"id"}
    return reply["error"] if kind == "error" else kind


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    options: dict[str, Any] = {
        "COMMAND_RATE": 1e6,
        "COMMAND_BURST": 10**6,
        "USER_WORK": 1e6,
        "USER_WORK_BURST": 1e6,
        # The peers answer no pings, and a busy machine may take its time.
        "PING_INTERVAL": 3600,
    }
    async with running_hub(settings, NAMESPACES=NAMESPACES, **options) as running:
        yield running


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
async def test_random_commands_are_answered_alike_in_both_forms(
    hub: Hub, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    met = set()
    users = [await in_database(make_user, name) for name in ("one", "two", "other")]
    bystander = await Peer.of(users[2])
    peers = [await Peer.of(users[0], JSON), await Peer.of(users[1], PROTOBUF)]
    for peer in (bystander, *peers):
        await peer.connect()
    assert "subscribe" in await bystander.call(subscribe={"channel": "typing:0"})
    for number in range(1000, 1000 + COMMANDS):
        command = some_command(chance)
        outcomes = []
        for place, (peer, user) in enumerate(zip(peers, users, strict=False)):
            mine = {
                name: value.replace("<n>", str(user.pk)) if isinstance(value, str) else value
                for name, value in command.fields.items()
            }
            own = command._replace(fields=mine)
            if place == 0:
                peer.say(own.in_json(number))
            else:
                peer.say_bytes(own.in_protobuf(number))
            await until(lambda: number in peer.replies or peer.closed, f"an answer to {own}")  # noqa: B023
            assert peer.closed is None, own
            outcomes.append(outcome_of(peer.replies[number]))
        first, second = outcomes
        assert first == second, command
        met.add(first if isinstance(first, str) else first["code"])
    assert met >= MET, met
    assert all(peer.violations == [] for peer in peers)
    await in_database(publish, "typing:0", "as ever")
    await until(lambda: [push["pub"]["data"] for push in bystander.pushes] == ["as ever"])
    for peer in (bystander, *peers):
        await peer.end()
    assert not hub.members._all
    assert not hub.join_leave._watching
    assert not [record for record in caplog.records if record.levelno >= 40]

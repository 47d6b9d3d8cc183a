"""Every field of every request of the protocol is used, ignored or refused (P7)."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifications import broadcast
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.protocol import commands
from tests.handlers.test_commands import allow
from tests.peers import Peer, running_hub
from tests.rooms import make_user
from tests.sites import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

PROTO = (ROOT / "notifications" / "protocol" / "client.proto").read_text()

NAMESPACES = {"chat": {"durable": True, "publish": "authenticated"}}

#: A filter by tags as an SDK may build it.
FILTER = {"key": "level", "cmp": "eq", "val": "error"}

USED: dict[str, set[str]] = {
    "connect": {"token", "subs", "data", "headers"},
    "subscribe": {"channel", "token", "recover", "epoch", "offset", "join_leave", "data"},
    "unsubscribe": {"channel"},
    "publish": {"channel", "data"},
    "presence": {"channel"},
    "presence_stats": {"channel"},
    "history": {"channel", "limit", "since", "reverse"},
    "ping": set(),
    "send": {"data"},
    "rpc": {"data", "method"},
    "refresh": {"token"},
    "sub_refresh": {"channel", "token"},
}

#: Ignored: the reply is the same as without these fields.
PASSED_OVER: dict[str, dict[str, Any]] = {
    "connect": {
        "name": "test",
        "version": "9",
        "flag": 2**40,
        "profile": "mobile",
        "dict": "abcdef",
    },
    "subscribe": {
        "positioned": True,
        "recoverable": True,
        "delta": "fossil",
        "flag": 2**40 + 1,
    },
}

REFUSED: dict[str, dict[str, list[Any]]] = {
    "subscribe": {
        "tf": [FILTER, {"op": "not", "nodes": [FILTER]}, {}],
        "type": [1, 2, 3, 4, 99, -1],
        "phase": [1, 2],
        "cursor": ["next"],
        "limit": [10],
        "asc": [True],
    },
    "publish": {"type": [1, 2], "key": ["a"], "removed": [True]},
    "sub_refresh": {
        "type": [1],
        "track": [[{"signature": "x", "items": [{"key": "a", "version": 1}]}]],
        "untrack": [["a"]],
    },
}

#: Requests that succeed, to which fields are added.
GOOD: dict[str, dict[str, Any]] = {
    "subscribe": {"channel": "topic:news"},
    "publish": {"channel": "broadcast", "data": {"title": "written by a client"}},
    "sub_refresh": {"channel": "chat:1", "token": "head.body.signature"},
}


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, NAMESPACES=NAMESPACES) as running:
        yield running


@pytest.fixture
async def peer(hub: Hub) -> Peer:
    user = await in_database(make_user)
    await in_database(allow, user, "send_broadcast")
    peer = await Peer.of(user)
    await peer.connect()
    return peer


def fields_of(message: str) -> set[str]:
    """Return the names of the fields of a message in ``client.proto``."""
    found = re.search(rf"^message {message} ?\{{(.*?)\}}", PROTO, re.MULTILINE | re.DOTALL)
    assert found, message
    return set(re.findall(r"(\w+) = \d+;", found[1]))


def requests() -> dict[str, str]:
    """Return the message types of ``Command`` by the names of their requests."""
    found = re.search(r"^message Command \{(.*?)\}", PROTO, re.MULTILINE | re.DOTALL)
    assert found
    return {name: kind for kind, name in re.findall(r"(\w+Request) (\w+) = \d+;", found[1])}


def test_every_field_of_the_protocol_is_listed_here() -> None:
    assert set(requests()) == set(commands.REQUESTS) == set(USED)
    for name, message in requests().items():
        lines = [*USED[name], *PASSED_OVER.get(name, ()), *REFUSED.get(name, ())]
        assert sorted(lines) == sorted(fields_of(message)), name


async def test_ignored_fields_do_not_change_a_subscribe_reply(peer: Peer) -> None:
    plain = await peer.call(subscribe=GOOD["subscribe"])
    assert set(plain["subscribe"]) == {"recoverable", "epoch", "positioned", "recovered"}
    for name, value in PASSED_OVER["subscribe"].items():
        await peer.call(unsubscribe={"channel": "topic:news"})
        reply = await peer.call(subscribe={**GOOD["subscribe"], name: value})
        assert reply["subscribe"] == plain["subscribe"], name


async def test_ignored_fields_do_not_change_a_connect_reply(peer: Peer) -> None:
    async def connect(**more: Any) -> set[str]:
        await peer.end()
        await peer.open()
        reply = await peer.call(connect={**peer.connect_request(), **more})
        return set(reply["connect"])

    plain = await connect()
    for name, value in PASSED_OVER["connect"].items():
        assert await connect(**{name: value}) == plain, name
    assert await connect(**PASSED_OVER["connect"]) == plain


async def test_an_unavailable_option_is_refused_and_has_no_effect(peer: Peer) -> None:
    for request, fields in REFUSED.items():
        for name, values in fields.items():
            for value in values:
                error = await peer.error(**{request: {**GOOD.get(request, {}), name: value}})
                assert error == 108, (request, name, value)
    assert "ping" in await peer.call(ping={})
    # None of them has had an effect.
    assert "subscribe" in await peer.call(subscribe=GOOD["subscribe"])
    assert await peer.rpc("inbox") == {"entries": [], "unread": 0}


async def test_an_unavailable_option_may_have_its_default_value(peer: Peer) -> None:
    """With Protobuf's default value, or null."""
    nothing = {"token": "", "tf": None, "type": 0, "phase": 0, "cursor": "", "limit": 0}
    assert "subscribe" in await peer.call(subscribe={**GOOD["subscribe"], **nothing, "asc": False})
    nothing = {"type": 0, "key": "", "removed": False}
    assert "publish" in await peer.call(publish={**GOOD["publish"], **nothing})


WRONG_TYPES: list[dict[str, Any]] = [
    *({"subscribe": {"channel": "topic:news", name: 7}} for name in ("token", "epoch", "cursor")),
    *({"subscribe": {"channel": "topic:news", name: "x"}} for name in ("type", "limit", "flag")),
    *({"subscribe": {"channel": "topic:news", name: 1}} for name in ("recover", "asc", "tf")),
    {"subscribe": {"channel": "topic:news", "type": 2**31}},
    {"subscribe": {"channel": "topic:news", "tf": [FILTER]}},
    {"publish": {"channel": "broadcast", "data": {"title": "x"}, "key": 7}},
    {"publish": {"channel": "broadcast", "data": {"title": "x"}, "removed": "no"}},
    {"history": {"channel": "broadcast", "reverse": 1}},
    {"history": {"channel": "broadcast", "since": []}},
    {"unsubscribe": {"channel": 7}},
    {"refresh": {"token": 7}},
    {"rpc": {"method": 7}},
    *({name: 7} for name in commands.REQUESTS),
    *({name: []} for name in commands.REQUESTS),
]


async def test_wrong_types_of_every_request_are_a_bad_request(peer: Peer) -> None:
    for request in WRONG_TYPES:
        assert await peer.error(**request) == 107, request
    assert "ping" in await peer.call(ping={})


async def test_a_command_with_several_requests_is_refused_and_has_no_effect(peer: Peer) -> None:
    publish = GOOD["publish"]
    others: list[dict[str, Any]] = [{"ping": {}}, {"send": {}}, {"rpc": {"method": "read_all"}}]
    for other in others:
        assert await peer.error(publish=publish, **other) == 107
    assert await peer.rpc("inbox") == {"entries": [], "unread": 0}


async def test_fields_and_requests_of_newer_clients_are_tolerated(peer: Peer) -> None:
    assert await peer.error(future={"a": [1]}) == 104
    assert "ping" in await peer.call(ping={}, future={"a": [1]})
    assert "ping" in await peer.call(ping={"deadline": 5})
    assert "subscribe" in await peer.call(subscribe={**GOOD["subscribe"], "future": {"a": [1]}})
    peer.say('{"future":{"a":[1]}}')
    assert "ping" in await peer.call(ping={})


IDS = {0: 3501, -1: 3501, 2**32: 3501, 2**64: 3501, 1.5: 3501, "7": 3501}


async def test_an_id_that_cannot_be_answered_ends_the_connection(peer: Peer) -> None:
    """No SDK sends such ids: they begin at 1 and have 32 bits on the wire."""
    for wrong, code in IDS.items():
        peer.say(json.dumps({"id": wrong, "ping": {}}))
        assert await peer.wait_closed() == code, wrong
        await peer.ended()
        await peer.connect()
    peer.say(json.dumps({"id": 2**32 - 1, "ping": {}}))
    assert "ping" in await peer.reply(2**32 - 1)


async def test_a_failed_recovery_is_an_error_if_the_client_wants_that(
    peer: Peer,
) -> None:
    """An SDK sets this flag if it can load the state from elsewhere."""
    result = (await peer.call(subscribe=GOOD["subscribe"]))["subscribe"]
    await in_database(broadcast, "one", to="topic:news")
    await peer.call(unsubscribe={"channel": "topic:news"})
    lost = {**GOOD["subscribe"], "recover": True, "epoch": "another", "offset": 1}
    assert await peer.error(subscribe={**lost, "flag": 3}) == 112
    known = {**lost, "epoch": result["epoch"], "offset": 0, "flag": 3}
    again = (await peer.call(subscribe=known))["subscribe"]
    assert again["recovered"] is True
    await peer.call(unsubscribe={"channel": "topic:news"})
    assert "recovered" not in (await peer.call(subscribe={**lost, "flag": 1}))["subscribe"]

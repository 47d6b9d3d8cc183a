"""Both directions over HTTP: a response that stays open, and requests to /emulation."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifications import notify
from notifications.database.lanes import in_database
from notifications.hub import Connection, Hub
from notifications.models import Subscription
from notifications.protocol import client_pb2 as pb
from notifications.protocol import codes
from tests.hub.helpers import FICKLE, FickleLayer
from tests.peers import log_in, running_hub, until
from tests.transports.requests import Emulated, Request, answered

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[False, True], ids=["http_stream", "sse"])
def sse(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def client(token: str, sse: bool) -> AsyncIterator[Emulated]:
    client = await Emulated.connect(token, sse=sse)
    yield client
    await client.stream.end()


def connection_of(hub: Hub) -> Connection:
    (connection,) = hub.connections.all
    return connection


async def test_a_client_connects_receives_and_calls(
    hub: Hub, user: Any, client: Emulated, sse: bool
) -> None:
    assert client.stream.status == 200
    assert client.stream.headers["x-accel-buffering"] == "no"
    assert "no-cache" in client.stream.headers["cache-control"]
    kind = "text/event-stream" if sse else "application/x-ndjson"
    assert client.stream.headers["content-type"] == kind
    await in_database(notify, user, "one")
    await client.stream.wait_for("one")
    reply = await client.call(rpc={"method": "unread"})
    assert reply["rpc"] == {"data": {"unread": 1}}
    assert "subscribe" in await client.call(subscribe={"channel": "topic:news"})


async def test_a_session_is_named_by_a_secret_of_its_own(
    hub: Hub, token: str, client: Emulated
) -> None:
    other = await Emulated.connect(token)
    assert client.result["node"] == other.result["node"] == hub.emulation.node
    names = {client.result["session"], other.result["session"]}
    assert [len(name) for name in names] == [32, 32]
    assert not names & {client.result["client"], other.result["client"]}
    await other.stream.end()


async def test_a_cookie_authenticates(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    headers = [(b"cookie", f"sessionid={key}".encode())]
    client = await Emulated.connect("", headers=headers)
    assert client.result["data"]["user"]["id"] == str(user.pk)
    await client.stream.end()


async def test_the_pong_acknowledges_delivery(hub: Hub, user: Any, client: Emulated) -> None:
    await in_database(notify, user, "one")
    await client.stream.wait_for("one")
    connection = connection_of(hub)
    hub.visit(connection, now=connection.session.deadline)
    await until(lambda: client.pings == 1, "a ping")
    assert (await client.send("{}")).status == 204
    reader = connection.readers[f"user:{user.pk}"]
    await until(lambda: reader.acked == 1, "an acknowledgement")
    await hub.flush()
    assert await in_database(_delivered, user) == 1


def _delivered(user: Any) -> int:
    return Subscription.objects.get(user=user, stream__name=f"user:{user.pk}").delivered


async def test_without_a_pong_the_connection_is_closed_with_3012(
    hub: Hub, client: Emulated
) -> None:
    connection = connection_of(hub)
    hub.visit(connection, now=connection.session.deadline)
    hub.visit(connection, now=connection.session.deadline)
    assert (await client.stream.message("disconnect"))["code"] == 3012
    await client.stream.ended()
    assert client.stream.is_complete
    assert (await client.send("{}")).error == (404, 404)


async def test_a_drain_ends_the_response_with_a_code_that_reconnects(
    hub: Hub, client: Emulated
) -> None:
    await hub.stop()
    ended = await client.stream.message("disconnect")
    assert ended == {"code": 3001, "reason": "shutdown", "reconnect": True}
    await client.stream.ended()
    assert client.stream.is_complete


async def test_a_client_that_hangs_up_is_forgotten(hub: Hub, token: str, sse: bool) -> None:
    client = await Emulated.connect(token, sse=sse)
    assert hub.connections.all
    await client.stream.end()
    assert not hub.connections.all
    assert not hub.connections.addresses.by_address
    assert (await client.send("{}")).error == (404, 404)


async def test_a_cancelled_request_says_that_the_server_stops(hub: Hub, token: str) -> None:
    """As daphne ends its applications."""
    client = await Emulated.connect(token)
    await client.stream.cancel()
    assert (await client.stream.message("disconnect"))["code"] == 3001
    assert not hub.connections.all


# Slow readers


async def test_a_blocked_client_holds_a_position_and_gets_the_rest_from_history(
    hub: Hub, user: Any, client: Emulated
) -> None:
    client.stream.block()
    titles = [f"n{number}" for number in range(30)]
    for title in titles:
        await in_database(notify, user, title)
    connection = connection_of(hub)
    (reader,) = [each for each in connection.readers.values() if each.stream.name != "broadcast"]
    await until(lambda: reader.stream.top == 30, "all hints")
    assert reader.sent == 1, "only the first one has been handed to the server"
    client.stream.unblock()
    await client.stream.wait_for(*titles)


async def test_a_client_that_never_reads_is_closed_with_3008_and_dropped(
    settings: Any, user: Any
) -> None:
    dropped: list[bool] = []
    async with running_hub(settings, SLOW_TIMEOUT=0.05) as hub:
        key = await in_database(log_in, user)
        headers = [(b"cookie", f"sessionid={key}".encode())]
        extensions = {"notifications.abort": lambda: dropped.append(True)}
        client = await Emulated.connect("", extensions=extensions, headers=headers)
        connection = connection_of(hub)
        client.stream.block()
        for title in ("one", "two"):
            await in_database(notify, user, title)
        await until(lambda: connection.closing is not None, "a close")
        assert connection.closing is not None
        assert connection.closing.code == 3008
        await client.stream.ended()
        assert dropped == [True]
        assert not hub.connections.all


# Commands


async def test_the_frames_of_a_client_are_carried_out_in_order(hub: Hub, client: Emulated) -> None:
    for number in range(100, 140):
        command = {"id": number, "rpc": {"method": "unread"}}
        assert (await client.send(json.dumps(command))).status == 204
    await until(lambda: len(client.stream.messages) == 41, "all replies")
    assert [each["id"] for each in client.stream.messages] == [1, *range(100, 140)]


async def test_several_commands_fit_into_one_frame(hub: Hub, client: Emulated) -> None:
    frame = '{"id":7,"rpc":{"method":"unread"}}\n{"id":8,"ping":{}}'
    assert (await client.send(frame)).status == 204
    await until(lambda: len(client.stream.messages) == 3, "both replies")


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"\xff", b"[]", b"null", b"[" * 50_000, b'{"session":"s","node":"n"}', b"{}",
     b'{"session":1,"node":"n","data":""}'],
)  # fmt: skip
async def test_a_malformed_emulation_request_is_answered_with_400(hub: Hub, body: bytes) -> None:
    assert (await answered("/emulation", body)).error == (400, 400)


async def test_foreign_and_dead_sessions_are_answered_with_404(hub: Hub, client: Emulated) -> None:
    for changes in (
        {"session": "x" * 32},
        {"session": ""},
        {"session": "x" * 1000},
        {"node": "f" * 32},
        {"node": "../" * 20},
        {"node": ""},
    ):
        assert (await client.send("{}", **changes)).error == (404, 404), changes


async def test_a_frame_that_is_too_large_is_refused(hub: Hub, client: Emulated) -> None:
    answer = await client.send('{"id":2,"rpc":{"method":"' + "é" * 33_000 + '"}}')
    assert answer.error == (413, 413)
    assert (await client.send(" " * 65_536)).status == 204


async def test_more_commands_than_may_wait_end_the_connection(settings: Any, user: Any) -> None:
    key_headers = await in_database(log_in, user)
    async with running_hub(settings, COMMAND_BURST=5):
        headers = [(b"cookie", f"sessionid={key_headers}".encode())]
        client = await Emulated.connect("", headers=headers)
        client.stream.block()  # so that nothing is answered
        statuses = [
            (await client.send(json.dumps({"id": number, "ping": {}}))).status
            for number in range(10, 30)
        ]
        assert statuses[0] == 204
        assert 429 in statuses
        client.stream.unblock()
        assert (await client.stream.message("disconnect"))["code"] == 3013


BAD_FIRST = ["", "x", "[]", '{"id":1,"rpc":{"method":"unread"}}', "[" * 50_000]


@pytest.mark.parametrize("frame", BAD_FIRST, ids=[frame[:9] for frame in BAD_FIRST])
async def test_a_stream_that_does_not_begin_with_connect_is_closed_with_3501(
    hub: Hub, frame: str
) -> None:
    for path in ("/connection/http_stream", "/connection/sse"):
        request = Request(path, frame)
        if not frame:  # nothing is wrong with it yet
            request.hang_up()
            await request.ended()
            continue
        ended = await request.message("disconnect")
        assert (ended["code"], ended.get("reconnect", False)) == (3501, False)
        await request.ended()


async def test_a_link_can_do_nothing_but_connect(hub: Hub, token: str) -> None:
    """Whoever follows a link sends cookies with it."""
    connect = json.dumps({"id": 1, "connect": {"token": token}})
    read_all = '{"id":2,"rpc":{"method":"read_all"}}'
    both = await answered("/connection/sse", method="GET", connect=f"{connect}\n{read_all}")
    assert both.error == (400, 400)
    alone = Request("/connection/sse", method="GET", connect=read_all)
    assert (await alone.message("disconnect"))["code"] == 3501
    assert (await answered("/connection/sse", method="GET")).error == (400, 400)
    many = Request("/connection/sse", method="GET", connect="{}")
    many.scope["query_string"] = b"&".join([b"a=1"] * 1000)
    assert (await many.ended()).error == (400, 400)


async def test_bytes_that_are_no_text_are_refused(hub: Hub) -> None:
    for path in ("/connection/http_stream", "/connection/sse", "/connection/uni_http_stream"):
        assert (await answered(path, b"\xff\xfe")).error == (400, 400)


BINARY = [(b"content-type", b"application/octet-stream")]


def framed(message: pb.Command) -> bytes:
    """A short message after its length."""
    data = message.SerializeToString()
    assert len(data) < 2**14
    return bytes([len(data) & 127 | 128, len(data) >> 7]) + data


async def test_protobuf_is_spoken_in_both_directions(hub: Hub, token: str) -> None:
    connect = pb.Command(id=1, connect=pb.ConnectRequest(token=token))
    stream = Request("/connection/http_stream", framed(connect), headers=BINARY)
    await until(lambda: stream.body, "the reply")
    assert stream.headers["content-type"] == "application/octet-stream"
    (reply,) = replies(stream.body)
    command = framed(pb.Command(id=2, rpc=pb.RPCRequest(method="unread")))
    names = {"node": reply.connect.node, "session": reply.connect.session}
    request = pb.EmulationRequest(**names, data=command).SerializeToString()
    # A media type is the same in capitals (RFC 9110 section 8.3.1).
    capitals = [(b"content-type", b"Application/Octet-Stream")]
    assert (await answered("/emulation", request, headers=capitals)).status == 204
    await until(lambda: len(replies(stream.body)) == 2, "the answer")
    assert json.loads(replies(stream.body)[1].rpc.data) == {"unread": 0}
    await stream.end()


def replies(body: bytes) -> list[pb.Reply]:
    found = []
    while body:
        size, start, shift = 0, 0, 0
        while True:
            size |= (body[start] & 127) << shift
            start, shift = start + 1, shift + 7
            if body[start - 1] < 128:
                break
        found.append(pb.Reply.FromString(body[start : start + size]))
        body = body[start + size :]
    return found


@pytest.mark.parametrize("body", [b"\xff\xff", b"\x0a\xff\xff\xff\xff\x7f", b"\x12\x02\xff\xff"])
async def test_malformed_protobuf_is_answered_with_400(hub: Hub, body: bytes) -> None:
    assert (await answered("/emulation", body, headers=BINARY)).error == (400, 400)


async def test_text_for_a_protobuf_session_and_bytes_for_a_json_one_end_it(
    hub: Hub, token: str, client: Emulated
) -> None:
    names = {"node": client.result["node"], "session": client.result["session"]}
    request = pb.EmulationRequest(**names, data=b"{}").SerializeToString()
    assert (await answered("/emulation", request, headers=BINARY)).status == 204
    assert (await client.stream.message("disconnect"))["code"] == 3506


async def test_a_refused_connect_is_an_error_of_the_protocol(hub: Hub) -> None:
    request = Request("/connection/http_stream", {"id": 1, "connect": {}})
    assert (await request.message("error"))["code"] == 101
    assert request.status == 200
    await request.end()


async def test_connections_of_one_address_are_limited(settings: Any, user: Any) -> None:
    key = await in_database(log_in, user)
    headers = [(b"cookie", f"sessionid={key}".encode())]
    async with running_hub(settings, MAX_CONNECTIONS_PER_ADDRESS=1):
        first = await Emulated.connect("", headers=headers)
        second = Request("/connection/http_stream", {"id": 1, "connect": {}}, headers=headers)
        assert (await second.message("disconnect"))["code"] == 3504
        await second.ended()
        await first.stream.end()


# Other processes


async def test_a_frame_for_another_process_goes_through_the_layer(
    hub: Hub, client: Emulated
) -> None:
    await hub.emulation.forward(hub.emulation.node, client.result["session"], '{"id":9,"ping":{}}')
    await until(lambda: client.stream.messages[-1].get("id") == 9, "the reply")
    await hub.emulation.forward(hub.emulation.node, "unknown", "{}")  # is dropped


@pytest.mark.parametrize("mood", ["raises", "hangs"])
async def test_without_the_layer_another_process_is_unreachable(settings: Any, mood: str) -> None:
    FickleLayer.mood = "good"
    async with running_hub(settings, FICKLE, LAYER_TIMEOUT=0.05):
        body = {"session": "s", "node": "f" * 32, "data": "{}"}
        assert (await answered("/emulation", body)).status == 204
        FickleLayer.mood = mood
        for _ in range(2):
            assert (await answered("/emulation", body)).error == (503, 503)
        FickleLayer.mood = "good"


async def test_a_request_ends_with_its_response_whatever_the_server_says(
    hub: Hub, token: str
) -> None:
    client = await Emulated.connect(token)
    client.stream.tells_end = False
    connection_of(hub).close(codes.FORCE_RECONNECT)
    await client.stream.ended()
    assert client.stream.is_complete
    assert not hub.connections.all

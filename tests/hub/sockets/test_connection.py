"""Sockets, connections and their deadlines: what waits, and what is given up (P5)."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from notifications.database.lanes import in_database
from notifications.hub import Connection, Hub
from notifications.hub.sockets import connection as connection_module
from notifications.hub.sockets.deadlines import TimerWheel
from notifications.hub.sockets.writing import EXTENSION, ASGISocket, FrameSocket, open_socket
from notifications.protocol import codes
from notifications.protocol.json import JSON
from notifications.protocol.messages import PING, Reply
from notifications.protocol.prepared import Prepared
from notifications.protocol.session import Session
from tests.peers import Peer, rest, until
from tests.protocol.test_session import CONNECT, CONNECTED, LIMITS
from tests.rooms import make_user

ONE, TWO = Prepared("one"), Prepared("two")


class Server:
    """The other side of an ASGI ``send``."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.room = asyncio.Event()
        self.room.set()
        self.error: Exception | None = None
        self.cleaned_up = 0

    async def send(self, event: dict[str, Any]) -> None:
        try:
            await self.room.wait()
            if self.error is not None:
                raise self.error
            self.sent.append(event.get("text", event.get("code")))
        finally:
            self.cleaned_up += 1


# ASGI sockets


async def test_a_send_to_a_socket_with_room_needs_no_task() -> None:
    server = Server()
    socket = ASGISocket(server.send)
    tasks = len(asyncio.all_tasks())
    assert socket.offer(ONE)
    assert server.sent == ["one"]
    assert not socket.is_blocked
    assert len(asyncio.all_tasks()) == tasks


async def test_texts_and_bytes_are_sent_as_such() -> None:
    events: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        events.append(event)

    socket = ASGISocket(send)
    socket.offer(ONE)
    socket.offer(Prepared(b"\0"))
    assert events == [
        {"type": "websocket.send", "text": "one"},
        {"type": "websocket.send", "bytes": b"\0"},
    ]


async def test_a_full_socket_accepts_one_message_only() -> None:
    server = Server()
    server.room.clear()
    socket = ASGISocket(server.send)
    assert socket.offer(ONE)
    assert socket.is_blocked
    assert not socket.offer(TWO)
    server.room.set()
    await socket.drained()
    assert server.sent == ["one"]
    assert socket.offer(TWO)
    assert server.sent == ["one", "two"]


async def test_a_send_that_suspends_several_times_is_completed() -> None:
    steps: list[str] = []

    async def send(event: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        steps.append("slept")
        async with asyncio.Lock():
            await asyncio.sleep(0.001)
        steps.append(event["text"])

    socket = ASGISocket(send)
    socket.offer(ONE)
    await socket.drained()
    assert steps == ["slept", "one"]


async def test_several_sockets_may_wait_for_the_same_future() -> None:
    room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sent: list[str] = []

    async def send(event: dict[str, Any]) -> None:
        await room
        sent.append(event["text"])

    sockets = [ASGISocket(send) for _ in range(3)]
    for socket in sockets:
        socket.offer(ONE)
    await rest()
    room.set_result(None)
    for socket in sockets:
        await socket.drained()
        assert not socket.has_failed
    assert sent == ["one"] * 3


async def test_a_send_may_be_any_awaitable() -> None:
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[None]] = []

    def send(event: dict[str, Any]) -> asyncio.Future[None]:
        futures.append(loop.create_future())
        return futures[-1]

    socket = ASGISocket(send)
    socket.offer(ONE)
    assert socket.is_blocked
    futures[0].set_result(None)
    await socket.drained()
    assert not socket.has_failed


@pytest.mark.parametrize("waits", [False, True])
async def test_a_failed_send_is_recorded_and_not_raised(waits: bool) -> None:
    server = Server()
    server.error = OSError("gone")
    if waits:
        server.room.clear()
    socket = ASGISocket(server.send)
    socket.offer(ONE)
    server.room.set()
    await socket.drained()
    assert socket.has_failed


@pytest.mark.parametrize("started", [False, True])
async def test_release_cancels_pending_writes_and_waits(started: bool) -> None:
    server = Server()
    server.room.clear()
    socket = ASGISocket(server.send)
    socket.offer(ONE)
    waiting = [asyncio.create_task(socket.drained()) for _ in range(2)]
    if started:
        await rest()
    socket.release()
    socket.release()
    await asyncio.wait_for(asyncio.gather(*waiting), 1)
    await rest()
    assert not socket.is_blocked
    del socket, waiting
    gc.collect()
    assert server.cleaned_up == 1, "the send was closed"


# Sockets with the extension


class Writer:
    is_blocked = False

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.aborted = False
        self.told: list[object] = []

    def charge_to(self, charge: Callable[[float], None]) -> None:
        self.told.append(charge)

    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None:
        self.told.append(take)

    def when_gone(self, callback: Callable[[], None]) -> None:
        self.told.append(callback)

    def offer(self, message: Prepared) -> bool:
        self.frames.append(message.frame)
        return True

    async def drained(self) -> None:
        return

    def abort(self) -> None:
        self.aborted = True


async def test_the_extension_is_used_if_the_server_has_it() -> None:
    server, writer = Server(), Writer()
    assert isinstance(open_socket({}, server.send), ASGISocket)
    socket = open_socket({"extensions": {EXTENSION: writer}}, server.send)
    assert isinstance(socket, FrameSocket)
    assert socket.offer(ONE)
    assert writer.frames == [ONE.frame]
    await socket.drained()
    await socket.close(codes.SHUTDOWN)
    assert server.sent == [3001]
    socket.charge_to(print)
    socket.when_gone(writer.abort)
    assert writer.told == [print, writer.abort]
    socket.release()
    socket.abort()
    assert writer.aborted


# Connections


async def connection_on(server: Server) -> Connection:
    return Connection("c", Session(JSON, 0.0, LIMITS), ASGISocket(server.send))


async def test_concurrent_sends_wait_for_the_socket() -> None:
    server = Server()
    server.room.clear()
    connection = await connection_on(server)
    sends = [asyncio.create_task(connection.send(Reply(id=n + 1))) for n in range(4)]
    await rest()
    server.room.set()
    await asyncio.wait_for(asyncio.gather(*sends), 1)
    await connection.socket.drained()
    assert sorted(server.sent) == [f'{{"id":{n}}}' for n in (1, 2, 3, 4)]


async def test_a_send_does_not_wait_for_an_ended_socket() -> None:
    server = Server()
    server.room.clear()
    connection = await connection_on(server)
    connection.write(PING)
    assert not connection.write(PING)
    waiting = asyncio.create_task(connection.send(PING))
    await rest()
    connection.end()
    await asyncio.wait_for(waiting, 1)
    assert server.sent == []


async def test_a_close_waits_for_a_pending_write() -> None:
    server = Server()
    server.room.clear()
    connection = await connection_on(server)
    connection.write(PING)
    connection.close(codes.SHUTDOWN)
    connection.close(codes.NO_PONG)
    await rest()
    server.room.set()
    await until(lambda: server.sent == ["{}", 3001])
    assert connection.closing == codes.SHUTDOWN
    assert not connection.is_given_up


async def test_a_socket_that_does_not_accept_a_close_frame_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT", 0.01)
    server = Server()
    server.room.clear()
    made: list[Connection] = []

    async def consume() -> None:
        made.append(await connection_on(server))
        await asyncio.sleep(3600)

    consumer = asyncio.create_task(consume())
    await rest()
    made[0].write(PING)
    made[0].close(codes.SHUTDOWN)
    await asyncio.wait({consumer}, timeout=1)
    assert consumer.cancelled()
    assert made[0].is_given_up
    assert made[0].has_ended


async def test_a_close_that_fails_ends_the_connection() -> None:
    server = Server()
    server.error = OSError("gone")
    connection = await connection_on(server)
    connection.close(codes.SHUTDOWN)
    await until(lambda: connection.has_ended)
    assert not connection.is_given_up


@pytest.mark.django_db(transaction=True)
async def test_a_connection_whose_connect_reply_is_not_read_is_given_up(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT", 0.01)
    peer = await Peer.of(await in_database(make_user))
    await peer.open()
    peer.block()
    peer.ask(connect=peer.connect_request())
    await until(lambda: hub.connections.all)
    (connection,) = hub.connections.all
    await until(lambda: connection.is_blocked)
    connection.close(codes.NO_PONG)
    await peer.ended()
    assert not hub.connections.all
    assert not hub.connections.users
    assert all(stream.is_idle for stream in hub.streams.by_name.values())


# The wheel


def session(deadline: float) -> Session:
    made = Session(JSON, 0.0, LIMITS)
    list(made.receive(CONNECT, 0.0))
    made.answer(1, CONNECTED, 0.0)
    made.deadline = deadline
    return made


async def wheel_with(*deadlines: float) -> tuple[TimerWheel, list[Connection]]:
    wheel = TimerWheel()
    made = []
    for deadline in deadlines:
        connection = Connection("c", session(deadline), ASGISocket(Server().send))
        wheel.add(connection, deadline)
        made.append(connection)
    return wheel, made


def put_off(connection: Connection) -> None:
    connection.session.deadline += 25.0


async def test_each_connection_is_visited_once_after_its_deadline() -> None:
    wheel, (early, late) = await wheel_with(10.2, 11.7)
    visited: list[Connection] = []

    def visit(connection: Connection) -> None:
        visited.append(connection)
        put_off(connection)

    for now in (10.1, 10.9):
        wheel.turn(now, visit)
    assert visited == []
    wheel.turn(11.0, visit)
    assert visited == [early]
    wheel.turn(100.0, visit)
    assert visited == [early, late, early]


async def test_a_moved_deadline_replaces_the_earlier_one() -> None:
    wheel, (connection,) = await wheel_with(10.0)
    visited: list[float] = []
    connection.session.deadline = 20.0
    wheel.add(connection, 20.0)
    wheel.add(connection, 20.0)

    def visit(connection: Connection) -> None:
        visited.append(connection.session.deadline)
        put_off(connection)

    for now in (12.0, 20.0, 21.0):
        wheel.turn(now, visit)
    assert visited == [20.0]


async def test_a_deadline_in_the_past_is_visited_at_the_next_turn() -> None:
    wheel, _ = await wheel_with(10.0)
    wheel.turn(50.0, put_off)
    late = Connection("late", session(1.0), ASGISocket(Server().send))
    wheel.add(late, 1.0)
    visited: list[Connection] = []
    wheel.turn(51.0, visited.append)
    assert late in visited


async def test_closed_sessions_leave_the_wheel() -> None:
    wheel, (connection,) = await wheel_with(10.0)
    connection.session.close(codes.NORMAL)
    visited: list[Connection] = []
    wheel.turn(100.0, visited.append)
    assert visited == []
    assert wheel.is_empty


async def test_a_removed_connection_is_not_kept_until_its_deadline() -> None:
    wheel, (connection, other) = await wheel_with(10.0, 10.0)
    wheel.remove(connection)
    wheel.remove(connection)
    visited: list[Connection] = []
    wheel.turn(9.0, visited.append)
    assert not wheel.is_empty
    wheel.remove(other)
    assert wheel.is_empty
    wheel.turn(100.0, visited.append)
    assert visited == []


@pytest.mark.django_db(transaction=True)
async def test_a_connection_that_has_ended_is_not_kept_until_its_deadline(hub: Hub) -> None:
    peer = await Peer.of(await in_database(make_user))
    await peer.connect()
    assert not hub.connections.deadlines.is_empty
    await peer.end()
    assert hub.connections.deadlines.is_empty


async def test_a_failed_visit_does_not_prevent_the_others() -> None:
    wheel, made = await wheel_with(10.0, 10.0, 10.0)
    visited: list[Connection] = []

    def visit(connection: Connection) -> None:
        visited.append(connection)
        if len(visited) == 1:
            raise ZeroDivisionError
        put_off(connection)

    with pytest.raises(ZeroDivisionError):
        wheel.turn(10.0, visit)
    wheel.turn(11.0, visit)
    assert set(visited) == set(made)

"""The bytes of one read are parsed in turns of the event loop, and all is counted (P7)."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from websockets.protocol import Protocol as Frames

from notifications.server import FrameProtocol
from notifications.server.incoming import (
    FRAGMENT_COST,
    MAX_FRAGMENTS,
    MAX_FRAMES_AFTER_CLOSE,
    MAX_PER_TURN,
)
from notifications.server.pieces import PIECE_SIZE
from tests.raw import BINARY, CONTINUATION, PING, PONG, TEXT, frame
from tests.server.test_websocket import PLAIN
from tests.sockets import serving, until

#: Bytes of the shortest frame that a client can send.
SHORTEST = len(frame(PING))
assert SHORTEST == 6

#: Maximum number of frames in one turn: its last piece may begin just below ``MAX_PER_TURN``.
MOST = MAX_PER_TURN + PIECE_SIZE // SHORTEST + 1


class Turns:
    """Counts the iterations of the event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.count += 1
        self._next = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        self._next.cancel()


class CountingFrames(Frames):
    """The parser, which records how many frames each call has found."""

    found: ClassVar[list[int]] = []

    def events_received(self) -> Any:
        events = super().events_received()
        self.found.append(len(events))
        return events


class Application:
    """Receives everything, and records the charges with their turns of the event loop."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.charged: list[tuple[int, float]] = []
        self.most_waiting = 0
        self.protocol: FrameProtocol | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.code: int | None = None
        self.turns = Turns()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.protocol = scope["extensions"]["notifications.frames"]
        self.protocol.charge_to(lambda amount: self.charged.append((self.turns.count, amount)))
        while (event := await receive())["type"] == "websocket.receive":
            self.most_waiting = max(self.most_waiting, self.protocol.waiting_events)
            text = event.get("text")
            if text == "close":
                await send({"type": "websocket.close", "code": 4000})
            self.received.append(event.get("bytes") if text is None else text)
            await self.may_go_on.wait()
        self.code = event["code"]
        self.turns.stop()

    @property
    def cost(self) -> float:
        return sum(amount for _, amount in self.charged)

    @property
    def most_at_once(self) -> float:
        """The highest amount that was charged in one turn of the event loop."""
        by_turn: dict[int, float] = {}
        for turn, amount in self.charged:
            by_turn[turn] = by_turn.get(turn, 0.0) + amount
        return max(by_turn.values())


async def reading(port: int, data: bytes, done: Callable[[], object]) -> None:
    """Open a websocket, send ``data`` in one write, and read until ``done`` returns true."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(PLAIN)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        drain = asyncio.ensure_future(_drain(reader))
        await until(done)
        drain.cancel()
    finally:
        writer.transport.abort()


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(2**16):
        pass


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_control_frames_are_counted_and_parsed_in_turns(opcode: int) -> None:
    application = Application()
    async with serving(application) as (_, port):
        await reading(port, frame(opcode) * 40_000, lambda: application.cost >= 40_000)
    assert application.cost == 40_000
    # uvloop may run the callbacks of ``call_soon`` twice before it polls its sockets.
    assert application.most_at_once <= 2 * MOST


async def test_empty_messages_are_parsed_in_turns_and_queued_within_bounds() -> None:
    application = Application()
    data = (frame(TEXT) + frame(BINARY)) * 10_000
    async with serving(application) as (_, port):
        await reading(port, data, lambda: len(application.received) >= 20_000)
    assert application.received == ["", b""] * 10_000
    assert application.most_waiting <= MOST
    assert application.turns.count > 20_000 / MOST
    assert application.charged == []  # the application counts its messages itself


async def test_a_fragment_costs_a_fraction_of_a_frame() -> None:
    application = Application()
    fragments = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, fin=False) * 799
    message = fragments + frame(CONTINUATION, b"b")
    async with serving(application) as (_, port):
        await reading(port, message * 3, lambda: len(application.received) == 3)
    assert application.received == ["ab"] * 3
    assert application.cost == 3 * 800 * FRAGMENT_COST
    assert application.most_at_once <= 2 * MOST * FRAGMENT_COST
    assert MAX_FRAGMENTS * FRAGMENT_COST < 200, "a message in as many as may be ends no connection"


async def test_the_messages_of_one_read_wait_for_a_slow_application() -> None:
    application = Application()
    application.may_go_on.clear()
    texts = [str(number) for number in range(5000)]
    data = b"".join(frame(TEXT, text.encode()) for text in texts)
    async with serving(application) as (_, port):
        turns = application.turns
        going = asyncio.ensure_future(
            reading(port, data, lambda: len(application.received) == len(texts))
        )
        await until(lambda: application.received)
        start = turns.count
        await until(lambda: turns.count > start + 1000)
        assert application.received == ["0"]
        application.may_go_on.set()
        await asyncio.wait_for(going, 60)
    assert application.received == texts
    assert application.most_waiting <= MOST


async def test_frames_after_our_close_are_parsed_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("notifications.server.websocket.Frames", CountingFrames)
    monkeypatch.setattr(CountingFrames, "found", [])
    application = Application()
    turns = Turns()

    def is_settled() -> bool:
        """Whether the limit was reached so long ago that all frames would be parsed by now."""
        if sum(CountingFrames.found) <= MAX_FRAMES_AFTER_CLOSE:
            turns.count = 0
        return turns.count > 25_000 // MAX_PER_TURN + 100

    async with serving(application) as (_, port):
        await reading(port, frame(TEXT, b"close") + frame(PING) * 25_000, is_settled)
    turns.stop()
    # The application may send the close as late as in the turn after the first one.
    assert sum(CountingFrames.found) <= 2 * MOST + MAX_FRAMES_AFTER_CLOSE + MOST
    assert application.code == 4000
    assert len(application.received) < MOST


async def test_the_close_of_a_peer_is_found_behind_some_more_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the close of the peer, the connection would last this long.
    monkeypatch.setattr("notifications.server.bounded_socket.CLOSE_TIMEOUT", 3600.0)
    application = Application()
    async with serving(application) as (server, port):
        data = frame(TEXT, b"close") + frame(TEXT, b"more") * 300 + frame(8, b"\x0f\xa0")
        await reading(port, data, lambda: not server.server_state.connections)
    assert application.code == 4000

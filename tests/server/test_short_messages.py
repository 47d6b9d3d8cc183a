"""Whole messages need no parser, and short ones no event; neither comes out of anything else."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import CloseCode
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as Frames

from notifications.server.events import Events
from notifications.server.incoming import SHORT, Incoming
from tests.raw import BINARY, CONTINUATION, PING, TEXT, frame

PONG = frame(TEXT, b"{}")


class Transport:
    """A socket that is never read by itself."""

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Client:
    """What a client sends, as it arrives: taken at once, or as events of the application.

    Args:
        takes: whether short messages are taken.
    """

    is_closing = False

    def __init__(self, *, takes: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self._frames: Frames | None = None
        self.events = Events(loop, Transport())  # type: ignore[arg-type]
        self.incoming = Incoming(self, self.events, loop)
        self.incoming.offer_short_to(self._take)
        self.taken: list[str | bytes] = []
        #: All messages, in the order in which they reached the application.
        self.received: list[str | bytes] = []
        self._takes = takes
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()
        self._task = loop.create_task(self._run())

    @property
    def frames(self) -> Frames:
        if self._frames is None:
            self._frames = Frames(SERVER, state=State.OPEN, max_size=64 * 1024)
        return self._frames

    @property
    def has_parser(self) -> bool:
        return self._frames is not None

    async def send(self, *reads: bytes) -> None:
        for read in reads:
            await self.rest()
            self.incoming.receive(read)
        await self.rest()

    async def rest(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    def hold(self) -> None:
        """Have the application busy with the next message until :meth:`go_on`."""
        self._may_go_on.clear()

    def go_on(self) -> None:
        self._may_go_on.set()

    def flush(self) -> None:
        self.frames.data_to_send()

    def closed(self) -> None:
        self.is_closing = True

    def failed(self) -> None:
        self.is_closing = True

    def _take(self, message: str | bytes) -> bool:
        if self._takes:
            self.taken.append(message)
            self.received.append(message)
        return self._takes

    async def _run(self) -> None:
        while True:
            event: dict[str, Any] = await self.events.get()
            self.received.append(event["text"] if "text" in event else event["bytes"])
            await self._may_go_on.wait()


async def test_a_short_message_that_comes_alone_is_taken() -> None:
    client = Client()
    await client.send(PONG, frame(BINARY, b"\0"), PONG)
    assert client.taken == client.received == ["{}", b"\0", "{}"]


@pytest.mark.parametrize(
    "reads",
    [
        [PONG + PONG],
        [PONG[:3], PONG[3:]],
        [frame(TEXT, b"x" * (SHORT + 1))],
        [frame(TEXT, b"")],
        [frame(TEXT, b"{", fin=False), frame(CONTINUATION, b"}")],
        [frame(PING, b"{}")],
        [frame(TEXT, b"\xff")],
    ],
)
async def test_nothing_else_is_taken(reads: list[bytes]) -> None:
    client = Client()
    await client.send(*reads)
    assert not client.taken


async def test_what_is_not_taken_becomes_an_event() -> None:
    client = Client(takes=False)
    await client.send(PONG, PONG)
    assert client.received == ["{}", "{}"]


@pytest.mark.parametrize("size", [0, 5, 125, 126, 2000])
async def test_whole_messages_need_no_parser(size: int) -> None:
    client = Client()
    await client.send(frame(TEXT, b"x" * size), frame(BINARY, b"y" * size), PONG)
    assert client.received == ["x" * size, b"y" * size, "{}"]
    assert not client.has_parser


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (frame(TEXT, b"no \xff text"), CloseCode.INVALID_DATA),
        (b"\x81\x05plain", CloseCode.PROTOCOL_ERROR),  # without a mask
        (b"\xc1\x85\0\0\0\0extra", CloseCode.PROTOCOL_ERROR),  # with a reserved bit
    ],
    ids=["no text", "no mask", "reserved bit"],  # the mask of a frame is random
)
async def test_a_message_that_breaks_the_protocol_fails_the_connection(
    read: bytes, code: CloseCode
) -> None:
    client = Client()
    await client.send(read)
    assert client.is_closing
    assert client.frames.close_sent is not None
    assert client.frames.close_sent.code == code
    assert not client.received


async def test_a_short_message_does_not_overtake_those_before_it() -> None:
    client = Client()
    client.hold()
    await client.send(frame(TEXT, b"a command"), PONG)
    assert client.received == ["a command"]
    client.go_on()
    await client.send(PONG)
    assert client.received == ["a command", "{}", "{}"]
    assert client.taken == ["{}"]


async def test_bytes_within_a_frame_that_look_like_a_short_message_are_not_taken() -> None:
    client = Client()
    long = frame(BINARY, b"x" * 500)
    place = len(long) - len(PONG)
    await client.send(long[:place], PONG)
    assert not client.taken
    await client.send(PONG)
    assert len(client.received) == 2


@pytest.mark.parametrize("size", [0, 125, 126, 65_535])
async def test_short_messages_are_taken_after_frames_of_every_length(size: int) -> None:
    client = Client()
    await client.send(frame(BINARY, b"x" * size))
    while not client.received:
        await client.rest()
    await client.send(PONG)
    assert client.received == [b"x" * size, "{}"]
    assert client.taken == ["{}"]


async def test_nothing_is_taken_after_the_socket_is_gone() -> None:
    client = Client()
    await client.rest()
    client.incoming.stop()
    client.incoming.receive(PONG)
    assert not client.taken


messages = st.lists(
    st.one_of(st.text(max_size=6), st.binary(max_size=6), st.binary(min_size=120, max_size=130)),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(messages, st.data())
def test_every_message_arrives_once_and_in_order_however_the_bytes_are_cut(
    sent: list[str | bytes], data: st.DataObject
) -> None:
    stream, ends = b"", []
    for message in sent:
        is_text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        stream += frame(TEXT if is_text else BINARY, payload)
        ends.append(len(stream))
    places = st.one_of(st.sampled_from([0, *ends]), st.integers(0, len(stream)))
    cuts = sorted({0, len(stream), *data.draw(st.lists(places, max_size=12))})
    reads = [stream[start:end] for start, end in pairwise(cuts)]
    takes = data.draw(st.booleans())

    async def send() -> list[str | bytes]:
        client = Client(takes=takes)
        await client.send(*reads)
        return client.received

    assert uvloop.run(send()) == sent

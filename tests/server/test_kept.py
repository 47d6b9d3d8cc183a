"""What is left of a socket that has ended."""

import gc
from collections.abc import Iterator

import pytest

from notifications.server import FrameProtocol
from tests.raw import TEXT, frame
from tests.server.test_websocket import PLAIN, echo
from tests.sockets import raw, serving, until


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sockets() -> int:
    # Not isinstance(), which asks lazy objects for their class: those of other tests may be there.
    return sum(issubclass(type(each), FrameProtocol) for each in gc.get_objects())


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("pieces", [(PLAIN,), (PLAIN, frame(TEXT, b"hello"))])
async def test_an_ended_socket_is_not_left_to_the_garbage_collector(
    pieces: tuple[bytes, ...],
) -> None:
    before = sockets()
    async with serving(echo) as (_, port):
        async with raw(port, *pieces) as reader:
            await reader.readuntil(b"\r\n\r\n")
            assert sockets() == before + 1
        await until(lambda: sockets() == before)

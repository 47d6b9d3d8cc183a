"""uvicorn with our protocol classes in the test's event loop, and raw TCP connections to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

Application = Callable[[Any, Any, Any], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(
    application: Application, **options: Any
) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """Serve an ASGI application on a free port; yield the server and the port.

    Args:
        application: the application.
        options: further options of uvicorn's configuration.
    """
    config = uvicorn.Config(
        application,
        port=0,
        ws="notifications.server:FrameProtocol",
        http="notifications.server:Door",
        ws_max_size=64 * 1024,
        lifespan="off",
        log_config=None,
        **options,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 30)


@contextlib.asynccontextmanager
async def raw(port: int, *pieces: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Send bytes piece by piece over a TCP connection; yield a reader of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)  # so that the server reads the pieces one by one
        yield reader
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition()`` is true, for 60 s at most."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)

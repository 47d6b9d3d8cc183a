"""A graceful shutdown for uvicorn: the application drains before its sockets are closed.

uvicorn itself closes all sockets at once (1012) and notifies the application afterwards. This
server closes its listening sockets, then awaits a coroutine function that the application has
put into the lifespan state (ASGI lifespan protocol 2.0, *Lifespan State*)::

    scope["state"]["notifications.drain"] = drain  # async def drain(hurry: asyncio.Event) -> None

``hurry`` is set when the process is signalled a second time to stop.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess, multiprocess

from .websocket import FrameProtocol

#: Key of the drain function in the lifespan state.
DRAIN = "notifications.drain"

#: Seconds in which a repeated signal counts as the same request: a terminal and systemd signal
#: the workers as well as the parent, which signals the workers too.
REPEAT_WINDOW = 2.0

#: Time for the peers to answer their close frames after a drain, in tenths of a second.
CLOSE_WAIT_TENTHS = 10

logger = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """One server process. SIGTERM or SIGINT starts the drain, a second one cuts it short."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._hurry = asyncio.Event()
        self._stop_requested_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._stop_requested_at = time.monotonic()
            super().handle_exit(sig, frame)
        elif time.monotonic() - self._stop_requested_at < REPEAT_WINDOW:
            return
        elif self._hurry.is_set() or self._loop is None:
            super().handle_exit(sig, frame)
        else:
            self._loop.call_soon_threadsafe(self._hurry.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        drain = self.lifespan.state.get(DRAIN)
        if drain is not None:
            await self._drain(drain)
        await super().shutdown(sockets)

    async def _drain(self, drain: Any) -> None:
        try:
            await drain(self._hurry)
        except Exception:
            logger.exception("The drain of the application failed.")
        for _ in range(CLOSE_WAIT_TENTHS):
            if not self._has_closing_sockets() or self._hurry.is_set():
                return
            await asyncio.sleep(0.1)

    def _has_closing_sockets(self) -> bool:
        """Return whether some peers have not answered their close frames yet."""
        connections = self.server_state.connections
        return any(isinstance(each, FrameProtocol) and each.is_closing for each in connections)


class Worker(multiprocess.Process):
    """A worker process of :class:`Supervisor`."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(config=self.config)
        return self._server

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        # Create the server now: the thread that answers the parent might create a second one.
        assert not self.server.started
        super().target(sockets)


class Supervisor(Multiprocess):
    """The parent of several workers. SIGHUP replaces them one by one, each drained."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        # uvicorn creates its workers in several places, all by this name.
        multiprocess.Process = Worker  # type: ignore[misc]

    def join_all(self) -> None:
        for worker in self.processes:
            while worker.exitcode is None:
                worker.process.join(0.1)
                self._forward_second_signal()

    def _forward_second_signal(self) -> None:
        """Pass on a second signal, on which the workers cut their drains short."""
        if self.signal_queue:
            self.signal_queue.clear()
            self.terminate_all()

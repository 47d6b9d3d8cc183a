"""Tests of the graceful shutdown: its order, and the effect of a second signal."""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any, cast

import pytest
import uvicorn

from notifications.server import stopping
from notifications.server.stopping import DRAIN, Server, Supervisor, Worker
from tests.sockets import until

Drain = Callable[[asyncio.Event], Awaitable[None]]


def make_application(drain: Drain | None, events: list[str]) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        if drain is not None:
            scope["state"][DRAIN] = drain
        await send({"type": "lifespan.startup.complete"})
        await receive()
        events.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})

    return application


@asynccontextmanager
async def serving(drain: Drain | None, events: list[str]) -> Any:
    """Start a server; yield it with its port and its task, and wait for its end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = uvicorn.Config(make_application(drain, events), log_config=None, lifespan="on")
        server = Server(config)
        # It would raise captured signals again, in pytest.
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
        task = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started)
        yield server, port, task
        await asyncio.wait_for(task, 10)


async def test_the_drain_runs_between_the_end_of_listening_and_the_shutdown() -> None:
    events: list[str] = []
    ports: list[int] = []

    async def drain(hurry: asyncio.Event) -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", ports[0])
        events.append("drained")

    async with serving(drain, events) as (server, port, _):
        ports.append(port)
        server.handle_exit(signal.SIGTERM, None)
    assert events == ["drained", "shutdown"]


async def test_an_application_without_a_drain_is_shut_down() -> None:
    events: list[str] = []
    async with serving(None, events) as (server, _, _):
        server.handle_exit(signal.SIGINT, None)
    assert events == ["shutdown"]


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_the_drain_short_and_still_shuts_down(
    again: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "REPEAT_WINDOW", 0)
    events: list[str] = []
    waiting = asyncio.Event()

    async def drain(hurry: asyncio.Event) -> None:
        waiting.set()
        await hurry.wait()
        events.append("hurried")

    async with serving(drain, events) as (server, _, _):
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.wait_for(waiting.wait(), 10)
        server.handle_exit(again, None)
    assert events == ["hurried", "shutdown"]


async def test_a_signal_repeated_at_once_is_ignored() -> None:
    """As when systemd signals every process, and the parent signals its workers."""
    events: list[str] = []
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def drain(hurry: asyncio.Event) -> None:
        waiting.set()
        await go_on.wait()
        events.append(f"hurried: {hurry.is_set()}")

    async with serving(drain, events) as (server, _, _):
        server.handle_exit(signal.SIGTERM, None)
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.wait_for(waiting.wait(), 10)
        go_on.set()
    assert events == ["hurried: False", "shutdown"]


async def test_a_drain_that_fails_is_logged_and_followed_by_the_shutdown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events: list[str] = []

    async def drain(hurry: asyncio.Event) -> None:
        raise ConnectionError("database is gone")

    async with serving(drain, events) as (server, _, _):
        server.handle_exit(signal.SIGTERM, None)
    assert events == ["shutdown"]
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == ["The drain of the application failed."]


def test_workers_run_the_draining_server() -> None:
    worker = Worker(uvicorn.Config("any:thing"), [])
    assert type(worker.server) is Server
    assert worker.server is worker.server


class FakeWorker:
    """A worker that ends at the second signal."""

    def __init__(self) -> None:
        self.told = 0
        self.process = self

    @property
    def exitcode(self) -> int | None:
        return 0 if self.told > 1 else None

    def join(self, timeout: float) -> None:
        return

    def terminate(self) -> None:
        self.told += 1


def test_the_parent_passes_a_second_signal_on_to_its_workers() -> None:
    supervisor = object.__new__(Supervisor)  # without ``__init__``, which sets signal handlers
    workers = [FakeWorker(), FakeWorker()]
    supervisor.processes = cast(Any, workers)
    supervisor.signal_queue = [signal.SIGTERM]
    supervisor.terminate_all()
    supervisor.join_all()
    assert [worker.told for worker in workers] == [2, 2]
    assert supervisor.signal_queue == []

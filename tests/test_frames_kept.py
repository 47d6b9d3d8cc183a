"""What a socket keeps while it rests."""

import asyncio
import types
from typing import Any

import pytest

from notifications.asgi import compose
from notifications.hub import Hub
from tests.peers import until
from tests.transports.requests import no_django

pytestmark = pytest.mark.django_db(transaction=True)


def waiting(coroutine: Any) -> list[str]:
    """The names of the coroutines that wait for each other, from the outermost one."""
    names = []
    while isinstance(coroutine, types.CoroutineType):
        names.append(coroutine.__qualname__)
        coroutine = coroutine.cr_await
    return names


async def test_no_layer_of_the_application_waits_for_a_resting_socket(hub: Hub) -> None:
    """Each that waits keeps a frame of 0.25 KB for every one of thousands of sockets."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    accepted = asyncio.Event()

    async def send(event: dict[str, Any]) -> None:
        accepted.set()

    scope = {
        "type": "websocket",
        "path": "/connection/websocket",
        "query_string": b"",
        "headers": [],
    }
    application: Any = compose(no_django, ())
    task = asyncio.create_task(application(scope, events.get, send))
    events.put_nowait({"type": "websocket.connect"})
    await accepted.wait()
    await until(lambda: not hub.connections.deadlines.is_empty)
    assert [name for name in waiting(task.get_coro()) if "Queue" not in name] == [
        "ProtocolTypeRouter.__call__",  # of Channels
        "AllowedOriginValidator.__call__",  # part of the API
        "NotificationConsumer",  # what as_asgi() of Channels makes
        "NotificationConsumer.__call__",
    ]
    events.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await task

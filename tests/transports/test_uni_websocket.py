"""A websocket whose client only listens."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from channels.testing import WebsocketCommunicator

from notifications import notify
from notifications.asgi import compose
from notifications.database.lanes import in_database
from notifications.hub import Hub
from tests.transports.requests import no_django

pytestmark = pytest.mark.django_db(transaction=True)


def socket(query: str = "") -> WebsocketCommunicator:
    return WebsocketCommunicator(compose(no_django, ()), f"/connection/uni_websocket{query}")


async def received(communicator: WebsocketCommunicator) -> Any:
    return json.loads(await communicator.receive_from(timeout=5))


async def close_code(communicator: WebsocketCommunicator) -> int:
    while True:
        event = await communicator.receive_output(timeout=5)
        if event["type"] == "websocket.close":
            return int(event["code"])


@pytest.mark.parametrize("in_query", [True, False])
async def test_the_connect_request_comes_first_or_in_the_url(
    hub: Hub, user: Any, token: str, in_query: bool
) -> None:
    request = json.dumps({"token": token})
    client = socket(f"?cf_connect={quote(request)}" if in_query else "")
    await client.connect()
    if not in_query:
        await client.send_to(text_data=request)
    assert (await received(client))["connect"]["data"]["unread"] == 0
    await in_database(notify, user, "one")
    message = await received(client)
    assert (message["channel"], message["pub"]["data"]["title"]) == (f"user:{user.pk}", "one")
    await client.disconnect()
    assert not hub.connections.all


@pytest.mark.parametrize(
    ("first", "code"),
    [("{}", 3507), ('{"token":"x"}', 3500), ("x", 3501), ("[]", 3501), ("x" * 70_000, 3501)],
)
async def test_refusals_are_close_codes(hub: Hub, first: str, code: int) -> None:
    client = socket()
    await client.connect()
    await client.send_to(text_data=first)
    assert await close_code(client) == code


async def test_what_a_listener_sends_is_ignored_and_charged(hub: Hub, token: str) -> None:
    client = socket()
    await client.connect()
    await client.send_to(text_data=json.dumps({"token": token}))
    await received(client)
    await client.send_to(text_data="{}")
    await client.send_to(text_data='{"id":2,"rpc":{"method":"read_all"}}')
    assert await client.receive_nothing(0.05)
    for _ in range(250):
        await client.send_to(text_data="{}")
    assert await close_code(client) == 3013
    await asyncio.sleep(0)


async def test_too_many_parameters_are_refused(hub: Hub) -> None:
    client = socket("?" + "&".join(["a=1"] * 100))
    await client.connect()
    assert await close_code(client) == 3501

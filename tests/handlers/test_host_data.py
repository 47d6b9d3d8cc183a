"""What clients send with `connect` and `subscribe` for the host's code, and how much of it."""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from notifications.database.lanes import RECEIVERS, in_database
from notifications.handlers.host_data import MAX_DATA
from notifications.hub import Hub
from notifications.signals import connected
from tests.hub.helpers import peer_of
from tests.peers import Peer, running_hub, until
from tests.rooms import make_user
from tests.wire_forms import JSON, Form, in_each_form

pytestmark = pytest.mark.django_db(transaction=True)

#: What the function of the host was asked with, and the passwords that it accepts.
asked: list[Any] = []
passwords: set[str] = set()


def knows_password(user: Any, channel: str, data: Any = None) -> bool:
    """A right of the host that depends on what the client sends."""
    asked.append(data)
    return isinstance(data, dict) and data.get("password") in passwords


def is_reader(user: Any, channel: str) -> bool:
    """A right of the host that takes no data."""
    return True


NAMESPACES: dict[str, dict[str, Any]] = {
    "vault": {"durable": True, "subscribe": f"{__name__}.knows_password"},
    "whisper": {"subscribe": f"{__name__}.knows_password"},
    "room": {"subscribe": f"{__name__}.is_reader"},
    "typo": {"subscribe": "tests.there_is.no_such_function"},
}

TOO_MUCH: Any = {"password": "x" * MAX_DATA}


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    asked.clear()
    passwords.clear()
    passwords.add("sesame")
    async with running_hub(settings, NAMESPACES=NAMESPACES) as running:
        yield running


@pytest.fixture
async def user(hub: Hub) -> Any:
    return await in_database(make_user)


def subscription(channel: str, password: str) -> dict[str, Any]:
    return {"channel": channel, "data": {"password": password}}


@in_each_form
@pytest.mark.parametrize("channel", ["vault:1", "whisper:1"])
async def test_the_data_of_a_subscribe_reaches_the_function_that_decides(
    user: Any, channel: str, form: Form
) -> None:
    peer = await Peer.of(user, form)
    await peer.connect()
    assert await peer.error(subscribe={"channel": channel}) == 103
    assert await peer.error(subscribe=subscription(channel, "wrong")) == 103
    assert "subscribe" in await peer.call(subscribe=subscription(channel, "sesame"))
    assert asked == [None, {"password": "wrong"}, {"password": "sesame"}]


async def test_p6_the_right_is_checked_again_with_the_data_of_each_subscription(
    user: Any, hub: Hub
) -> None:
    passwords.add("old")
    peers = [await peer_of(user), await peer_of(user)]
    for peer, password in zip(peers, ("sesame", "old"), strict=True):
        assert "subscribe" in await peer.call(subscribe=subscription("vault:1", password))
    passwords.remove("old")
    await hub.rights.check_all()
    await until(lambda: peers[1].pushes)
    assert peers[1].pushes[0]["unsubscribe"]["reason"] == "permission denied"
    assert "vault:1" in peers[0].connection(hub).readers


async def test_p7_too_much_data_of_a_subscribe_is_refused_where_it_would_be_kept(
    user: Any, hub: Hub
) -> None:
    peer = await peer_of(user)
    assert await peer.error(subscribe={"channel": "vault:1", "data": TOO_MUCH}) == 107
    assert asked == []
    assert "subscribe" in await peer.call(subscribe={"channel": "room:1", "data": TOO_MUCH})
    grant = peer.connection(hub).readers["room:1"].grant
    assert grant is not None
    assert grant.data == b""


async def test_a_function_that_cannot_be_imported_denies_and_data_is_not_logged(
    user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await peer_of(user)
    with caplog.at_level(logging.DEBUG):
        assert await peer.error(subscribe=subscription("typo:1", "sesame")) == 103
        assert "subscribe" in await peer.call(subscribe=subscription("vault:1", "sesame"))
    assert "sesame" not in caplog.text


@pytest.fixture
def arrivals() -> Iterator[list[Any]]:
    """The data and headers that receivers of ``connected`` have got."""
    found: list[Any] = []

    def arrive(data: Any, headers: Any, **kwargs: Any) -> None:
        found.append((data, headers))

    connected.connect(arrive)
    yield found
    connected.disconnect(arrive)


async def connect(user: Any, hub: Hub, form: Form = JSON, **fields: Any) -> dict[str, Any]:
    peer = await Peer.of(user, form)
    await peer.open()
    reply = await peer.reply(peer.ask(connect={**peer.connect_request(), **fields}))
    await hub.flush()
    await RECEIVERS.run(bool)
    return dict(reply)


async def test_the_data_of_a_connect_reaches_receivers_of_connected_once(
    user: Any, hub: Hub, arrivals: list[Any]
) -> None:
    for data in ({"app": "ios"}, [7], None):
        assert "connect" in await connect(user, hub, data=data)
    assert "connect" in await connect(user, hub)
    assert [data for data, _ in arrivals] == [{"app": "ios"}, [7], None, None]


@in_each_form
async def test_the_headers_of_a_connect_reach_receivers_of_connected(
    user: Any, hub: Hub, arrivals: list[Any], form: Form
) -> None:
    assert "connect" in await connect(user, hub, form, headers={"X-App": "shop", "X-Build": "é7"})
    assert "connect" in await connect(user, hub, form)
    (sent, none) = [headers for _, headers in arrivals]
    assert (sent["x-app"], sent["X-BUILD"], len(sent), dict(none)) == ("shop", "é7", 2, {})


async def test_p6_headers_of_a_connect_authenticate_nobody(user: Any, hub: Hub) -> None:
    peer = await Peer.of(user)
    token = peer.connect_request()["token"]
    await peer.open()
    headers = {"Authorization": f"Bearer {token}", "Cookie": f"sessionid={token}"}
    assert await peer.error(connect={"headers": headers}) == 101


@pytest.mark.parametrize("field", ["data", "headers"])
async def test_p7_too_much_of_a_connect_is_refused_where_somebody_receives_it(
    user: Any, hub: Hub, field: str
) -> None:
    assert "connect" in await connect(user, hub, **{field: TOO_MUCH})

    def arrive(**kwargs: Any) -> None: ...

    connected.connect(arrive)
    try:
        assert (await connect(user, hub, **{field: TOO_MUCH}))["error"]["code"] == 107
    finally:
        connected.disconnect(arrive)

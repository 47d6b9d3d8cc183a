"""Sockets per client address are counted from accept on, and those above the limit closed (P7)."""

import logging
from typing import Any

import pytest

from notifications.database.lanes import in_database
from tests.peers import Peer, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


async def knock(address: str | None) -> Peer:
    """Open a socket from this address and send nothing."""
    peer = Peer()
    peer.client = None if address is None else (address, 50_000)
    return await peer.open()


async def count_admitted(addresses: list[str | None]) -> int:
    """Open a socket from each address, one after the other; count those that are not closed."""
    peers = [await knock(address) for address in addresses]
    refused = [peer for peer in peers if peer.closed is not None]
    assert {peer.closed for peer in refused} <= {3504}
    for peer in peers:
        await peer.end()
    return len(peers) - len(refused)


async def test_sockets_without_a_connect_are_counted(settings: Any) -> None:
    async with running_hub(settings, MAX_CONNECTIONS_PER_ADDRESS=3):
        silent = [await knock("192.0.2.7") for _ in range(3)]
        fourth = await knock("192.0.2.7")
        assert await fourth.wait_closed() == 3504
        assert all(peer.closed is None for peer in silent)
        assert (await knock("192.0.2.8")).closed is None


async def test_connected_sockets_are_counted_once_until_they_end(settings: Any) -> None:
    async with running_hub(settings, MAX_CONNECTIONS_PER_ADDRESS=2) as hub:
        user = await in_database(make_user)
        peers = [await Peer.of(user) for _ in range(2)]
        for peer in peers:
            await peer.connect()
        assert await (await knock("192.0.2.7")).wait_closed() == 3504
        await peers[0].end()
        again = await knock("192.0.2.7")
        assert again.closed is None
        assert await (await knock("192.0.2.7")).wait_closed() == 3504
        assert len(hub.connections.all) == 1


async def test_refused_sockets_are_not_counted(settings: Any) -> None:
    async with running_hub(settings, MAX_CONNECTIONS_PER_ADDRESS=1) as hub:
        first = await knock("192.0.2.7")
        for _ in range(3):
            refused = await knock("192.0.2.7")
            assert await refused.wait_closed() == 3504
            await refused.ended()
        await first.end()
        assert (await knock("192.0.2.7")).closed is None
        assert hub.connections.addresses.by_address.keys() == {"192.0.2.7"}


async def test_addresses_without_sockets_are_forgotten(settings: Any) -> None:
    async with running_hub(settings) as hub:
        for peer in [await knock(f"192.0.2.{number}") for number in range(20)]:
            await peer.end()
        await until(lambda: not hub.connections.addresses.by_address)


@pytest.mark.parametrize(
    ("addresses", "admitted"),
    [
        # A site has at least a /64 of IPv6.
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"], 2),
        (["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"], 3),
        (["::ffff:192.0.2.7", "192.0.2.7", "::ffff:192.0.2.7"], 2),
        (["::ffff:192.0.2.7", "::ffff:192.0.2.8", "::ffff:192.0.2.9"], 3),
        # A proxy may send anything.
        (["unknown", "unknown", "unknown"], 2),
        (["a:b", "a:b", "a:b"], 2),
        (["", "", ""], 3),
        # Unix sockets have no address.
        ([None, None, None], 3),
    ],
)
async def test_what_counts_as_one_address(
    settings: Any, addresses: list[str | None], admitted: int
) -> None:
    async with running_hub(settings, MAX_CONNECTIONS_PER_ADDRESS=2):
        assert await count_admitted(addresses) == admitted


async def test_the_limit_is_logged_once_and_without_the_address(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub(settings, MAX_CONNECTIONS_PER_ADDRESS=1):
        assert await count_admitted(["192.0.2.7"] * 5) == 1
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "--forwarded-allow-ips" in record.getMessage()
    assert "192.0.2.7" not in caplog.text

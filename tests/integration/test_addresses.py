"""The limit per client address, and whose word about the address is believed."""

from collections.abc import Callable

import pytest

from tests.raw import CLOSE, PING, RawSocket, frame
from tests.servers import Server

pytestmark = pytest.mark.integration

StartServer = Callable[..., Server]

LIMIT = {"NOTIFICATIONS_MAX_CONNECTIONS_PER_ADDRESS": "2"}


def is_refused(socket: RawSocket) -> bool:
    """Is a socket, just opened, closed as one too many?"""
    assert socket.status == 101
    # The close comes a moment after the handshake: who has several pings answered may stay.
    for _ in range(5):
        socket.send(frame(PING))
        found = socket.next_frame()
        assert found is not None
        if found.opcode == CLOSE:
            return int.from_bytes(found.payload[:2]) == 3504
    return False


def knock(server: Server, *addresses: str) -> list[bool]:
    """Open a socket for each of these ``X-Forwarded-For``; tell which are refused."""
    sockets = [RawSocket(server, [f"X-Forwarded-For: {address}"]) for address in addresses]
    refused = [is_refused(socket) for socket in sockets]
    for socket in sockets:
        socket.reset()
    return refused


@pytest.mark.parametrize("command", ["serve", "runserver"])
def test_third_socket_of_an_address_is_refused_whatever_it_claims(
    server: StartServer, command: str
) -> None:
    running = server(command=command, **LIMIT)
    assert knock(running, "192.0.2.1", "192.0.2.2", "192.0.2.3") == [False, False, True]
    assert "Traceback" not in running.log


def test_behind_a_proxy_the_clients_are_told_apart(server: StartServer) -> None:
    running = server(args=("--forwarded-allow-ips", "127.0.0.1"), **LIMIT)
    assert knock(running, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4") == [False] * 4
    assert knock(running, "192.0.2.9", "192.0.2.9", "192.0.2.9") == [False, False, True]
    # What the client itself has put in front of the proxy's word does not count.
    forged = ["10.0.0.1, 192.0.2.11", "10.0.0.2, 192.0.2.11", "10.0.0.3, 192.0.2.11"]
    assert knock(running, *forged) == [False, False, True]
    assert "Traceback" not in running.log

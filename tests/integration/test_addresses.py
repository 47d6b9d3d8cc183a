"""The limit of connections per client address, and which proxy headers are trusted."""

from collections.abc import Callable

import pytest

from tests.raw import CLOSE, PING, RawSocket, frame
from tests.servers import Server

pytestmark = pytest.mark.integration

StartServer = Callable[..., Server]

LIMIT = {"NOTIFICATIONS_MAX_CONNECTIONS_PER_ADDRESS": "2"}


def is_refused(socket: RawSocket) -> bool:
    """Return whether a new socket is closed with 3504, as one too many."""
    assert socket.status == 101
    # The close follows shortly after the handshake: a socket that gets several pongs is accepted.
    for _ in range(5):
        socket.send(frame(PING))
        found = socket.next_frame()
        assert found is not None
        if found.opcode == CLOSE:
            return int.from_bytes(found.payload[:2]) == 3504
    return False


def refusals(server: Server, *addresses: str) -> list[bool]:
    """Open a socket with each ``X-Forwarded-For`` and return which sockets are refused."""
    sockets = [RawSocket(server, [f"X-Forwarded-For: {address}"]) for address in addresses]
    refused = [is_refused(socket) for socket in sockets]
    for socket in sockets:
        socket.reset()
    return refused


@pytest.mark.parametrize("command", ["serve", "runserver"])
def test_the_third_socket_of_an_address_is_refused_despite_forged_headers(
    server: StartServer, command: str
) -> None:
    running = server(command=command, **LIMIT)
    assert refusals(running, "192.0.2.1", "192.0.2.2", "192.0.2.3") == [False, False, True]
    assert "Traceback" not in running.log


def test_clients_behind_a_trusted_proxy_are_distinguished(server: StartServer) -> None:
    running = server(args=("--forwarded-allow-ips", "127.0.0.1"), **LIMIT)
    assert refusals(running, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4") == [False] * 4
    assert refusals(running, "192.0.2.9", "192.0.2.9", "192.0.2.9") == [False, False, True]
    # Addresses that the client puts in front of the proxy's entry do not count.
    forged = ["10.0.0.1, 192.0.2.11", "10.0.0.2, 192.0.2.11", "10.0.0.3, 192.0.2.11"]
    assert refusals(running, *forged) == [False, False, True]
    assert "Traceback" not in running.log

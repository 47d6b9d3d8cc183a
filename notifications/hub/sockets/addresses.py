"""Limits the accepted sockets of each client address, authenticated or not."""

import logging
import time
from collections import defaultdict
from ipaddress import IPv6Address, ip_address, ip_network

from ...conf import app_settings
from .connection import Connection

logger = logging.getLogger(__name__)

#: A site gets at least a /64 of IPv6 (RFC 6177), so a limit per single address would be useless.
IPV6_PREFIX = 64

#: Minimum seconds between two warnings that an address has reached its limit.
WARNING_INTERVAL = 60.0


class Addresses:
    """The sockets of one process by client address, up to a limit for each address."""

    def __init__(self) -> None:
        #: The counted sockets, by address or, for IPv6, by network.
        self.by_address: dict[str, set[Connection]] = defaultdict(set)
        self._next_warning = 0.0

    def add(self, connection: Connection) -> bool:
        """Count a socket. May be called again for the same socket.

        Returns:
            False if its address has ``MAX_CONNECTIONS_PER_ADDRESS`` others; then it is not counted.
        """
        if not connection.address:  # a unix socket, which has no client address
            return True
        address = _counting_key(connection.address)
        sockets = self.by_address[address]
        if connection not in sockets and len(sockets) >= app_settings.MAX_CONNECTIONS_PER_ADDRESS:
            self._warn()
            return False
        sockets.add(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """Stop counting a socket. Safe to call twice, and for a socket that was never counted."""
        address = _counting_key(connection.address)
        sockets = self.by_address.get(address)
        if sockets is None:
            return
        sockets.discard(connection)
        if not sockets:
            del self.by_address[address]

    def _warn(self) -> None:
        now = time.monotonic()
        if now < self._next_warning:
            return
        self._next_warning = now + WARNING_INTERVAL
        logger.warning(
            "A client address has reached MAX_CONNECTIONS_PER_ADDRESS (%d). If it is that of a "
            "proxy, start the server with --forwarded-allow-ips.",
            app_settings.MAX_CONNECTIONS_PER_ADDRESS,
        )


def _counting_key(address: str) -> str:
    """Return the key under which an address is counted: its /64 network for IPv6."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address)
    except ValueError:  # a proxy may send anything
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), IPV6_PREFIX), strict=False))

"""How many sockets each client address holds here: from accept on, authenticated or not."""

import logging
import time
from collections import defaultdict
from ipaddress import IPv6Address, ip_address, ip_network

from ...conf import app_settings
from .connection import Connection

logger = logging.getLogger(__name__)

#: Somebody with IPv6 has this much of it (RFC 6177): a limit per address would be none.
IPV6_PREFIX = 64

#: Seconds between two warnings that an address has reached its limit.
SILENCE = 60.0


class Addresses:
    """The sockets of one process by client address, each address up to a limit."""

    def __init__(self) -> None:
        self._sockets: dict[str, set[Connection]] = defaultdict(set)
        self._next_warning = 0.0

    def enter(self, connection: Connection) -> bool:
        """Count a socket. May be called again for the same one.

        Returns:
            False, and it is not counted, if its address has too many already.
        """
        if not connection.address:  # a unix socket: whoever is behind it does not tell
            return True
        address = _holder(connection.address)
        sockets = self._sockets[address]
        if connection not in sockets and len(sockets) >= app_settings.MAX_CONNECTIONS_PER_ADDRESS:
            self._warn()
            return False
        sockets.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """A socket is gone. Safe to call twice, and for one that was never counted."""
        address = _holder(connection.address)
        sockets = self._sockets.get(address)
        if sockets is None:
            return
        sockets.discard(connection)
        if not sockets:
            del self._sockets[address]

    def _warn(self) -> None:
        now = time.monotonic()
        if now < self._next_warning:
            return
        self._next_warning = now + SILENCE
        logger.warning(
            "A client address has reached MAX_CONNECTIONS_PER_ADDRESS (%d). If it is that of a "
            "proxy, start the server with --forwarded-allow-ips.",
            app_settings.MAX_CONNECTIONS_PER_ADDRESS,
        )


def _holder(address: str) -> str:
    """What stands for whoever has this address: all of an IPv6 network of one site."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address)
    except ValueError:  # what a proxy says need not be one
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), IPV6_PREFIX), strict=False))

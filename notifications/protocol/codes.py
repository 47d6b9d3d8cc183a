"""Error, unsubscribe and disconnect codes, and whether a client may retry after each.

Source: https://centrifugal.dev/docs/server/codes.
"""

from typing import NamedTuple


class Error(NamedTuple):
    """An error reply. A client may retry the command if the error is ``temporary``."""

    code: int
    message: str
    temporary: bool = False


class Disconnect(NamedTuple):
    """A close code and its reason (at most 123 bytes, RFC 6455 section 5.5)."""

    code: int
    reason: str

    @property
    def reconnect(self) -> bool:
        """Whether the client may reconnect by itself."""
        return not (3500 <= self.code < 4000 or 4500 <= self.code < 5000 or self.code == 1009)


class Unsubscribe(NamedTuple):
    """The code of an ``unsubscribe`` push, and its reason."""

    code: int
    reason: str

    @property
    def resubscribe(self) -> bool:
        """Whether the client may subscribe again by itself."""
        return self.code >= 2500


class ClientError(Exception):
    """A command cannot be carried out; the client gets ``error`` as the reply."""

    def __init__(self, error: Error, detail: str = "") -> None:
        super().__init__(error.message)
        self.error = error._replace(message=f"{error.message}: {detail}") if detail else error


class Disconnected(Exception):
    """The connection must be closed with ``disconnect``."""

    def __init__(self, disconnect: Disconnect) -> None:
        super().__init__(disconnect.reason)
        self.disconnect = disconnect


INTERNAL = Error(100, "internal server error", temporary=True)
UNAUTHORIZED = Error(101, "unauthorized")
UNKNOWN_CHANNEL = Error(102, "unknown channel")
PERMISSION_DENIED = Error(103, "permission denied")
METHOD_NOT_FOUND = Error(104, "method not found")
ALREADY_SUBSCRIBED = Error(105, "already subscribed")
LIMIT_EXCEEDED = Error(106, "limit exceeded")
BAD_REQUEST = Error(107, "bad request")
NOT_AVAILABLE = Error(108, "not available")
TOKEN_EXPIRED = Error(109, "token expired")
TOO_MANY_REQUESTS = Error(111, "too many requests", temporary=True)
UNRECOVERABLE_POSITION = Error(112, "unrecoverable position")

NORMAL = Disconnect(1000, "")
MESSAGE_TOO_BIG = Disconnect(1009, "message too big")
SHUTDOWN = Disconnect(3001, "shutdown")
SERVER_ERROR = Disconnect(3004, "internal server error")
EXPIRED = Disconnect(3005, "connection expired")
SLOW = Disconnect(3008, "slow")
INSUFFICIENT_STATE = Disconnect(3010, "insufficient state")
FORCE_RECONNECT = Disconnect(3011, "force reconnect")
NO_PONG = Disconnect(3012, "no pong")
TOO_MANY_COMMANDS = Disconnect(3013, "too many requests")
INVALID_TOKEN = Disconnect(3500, "invalid token")
BAD_FRAME = Disconnect(3501, "bad request")
STALE = Disconnect(3502, "stale")
FORCE_NO_RECONNECT = Disconnect(3503, "force disconnect")
CONNECTION_LIMIT = Disconnect(3504, "connection limit")
INAPPROPRIATE_PROTOCOL = Disconnect(3506, "inappropriate protocol")
NOT_PERMITTED = Disconnect(3507, "permission denied")

UNSUBSCRIBED_BY_SERVER = Unsubscribe(2000, "unsubscribed by the server")
SUBSCRIPTION_LOST = Unsubscribe(2500, "insufficient state")
SUBSCRIPTION_EXPIRED = Unsubscribe(2501, "subscription expired")

_DISCONNECTS = {
    UNAUTHORIZED.code: NOT_PERMITTED,
    PERMISSION_DENIED.code: NOT_PERMITTED,
    BAD_REQUEST.code: BAD_FRAME,
    NOT_AVAILABLE.code: BAD_FRAME,
    TOKEN_EXPIRED.code: EXPIRED,
    TOO_MANY_REQUESTS.code: TOO_MANY_COMMANDS,
}


def disconnect_for(error: Error) -> Disconnect:
    """Return the code that ends a one-way connection whose ``connect`` fails with this error."""
    return _DISCONNECTS.get(error.code, SERVER_ERROR)

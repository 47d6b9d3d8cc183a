"""The user behind a command."""

from typing import Any

from ..connect import authentication
from ..protocol import codes
from ..protocol.codes import Disconnected


def current_user(user_id: Any) -> Any:
    """The user as he is now.

    Raises:
        Disconnected: gone or deactivated since the connection was made.
    """
    user = authentication.active_users([user_id]).get(user_id)
    if user is None:
        raise Disconnected(codes.FORCE_NO_RECONNECT)
    return user

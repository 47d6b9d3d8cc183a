"""The user behind a command."""

from typing import Any

from ..connect import authentication
from ..protocol import codes
from ..protocol.codes import Disconnected


def current_user(user_id: Any) -> Any:
    """Read the user again.

    Raises:
        Disconnected: the user was deleted or deactivated since the connection was made.
    """
    user = authentication.active_users([user_id]).get(user_id)
    if user is None:
        raise Disconnected(codes.FORCE_NO_RECONNECT)
    return user

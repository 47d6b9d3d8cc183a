"""The ASGI scope of one websocket (ASGI specification, *WebSocket Connection Scope*)."""

import asyncio
from typing import Any

from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from .handshake import Handshake


def websocket_scope(
    config: Any,
    transport: asyncio.Transport,
    handshake: Handshake,
    state: dict[str, Any],
    extensions: dict[str, Any],
) -> dict[str, Any]:
    """Build the scope of a handshake.

    Args:
        config: uvicorn's loaded configuration.
        transport: the transport of the connection.
        handshake: the handshake that was read from it.
        state: the lifespan state, of which the scope gets a shallow copy.
        extensions: ASGI extensions by name.
    """
    root = config.root_path
    return {
        "type": "websocket",
        "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if is_ssl(transport) else "ws",
        "server": get_local_addr(transport),
        "client": get_remote_addr(transport),
        "root_path": root,
        "path": root + handshake.path,
        "raw_path": root.encode("ascii") + handshake.raw_path,
        "query_string": handshake.query,
        "headers": handshake.headers,
        "subprotocols": handshake.subprotocols,
        "state": state.copy(),
        "extensions": extensions,
    }

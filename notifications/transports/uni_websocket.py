"""``/connection/uni_websocket``: a websocket whose client only listens.

Its first message, or the parameter ``cf_connect``, is the connect request. What it sends later is
ignored, and charged.
"""

from __future__ import annotations

from typing import Any

from ..consumers import NotificationConsumer
from ..hub import get_hub, open_socket
from ..protocol import codes
from ..protocol.one_way import ONE_WAY_JSON
from ..protocol.session import State
from ..shell import Shell
from .query import connect_parameter


class OneWayConsumer(NotificationConsumer):
    """One socket that speaks the one-way JSON form."""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        await self.accept()
        socket = open_socket(self.scope, self.base_send)
        self.shell = Shell(await get_hub(), ONE_WAY_JSON, socket, self.scope)
        try:
            request = connect_parameter(self.scope)
        except ValueError:
            self.shell.connection.close(codes.BAD_FRAME)
            return
        if request:
            await self.shell.receive(request)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self.shell is None:
            return
        if self.shell.connection.session.state is State.NEW:
            await super().websocket_receive(message)
        else:
            self.shell.charge(1)

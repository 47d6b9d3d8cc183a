"""Flow control for reading from an HTTP connection."""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from .pausing import let_read


class Reading(FlowControl):
    """uvicorn's flow control, which also pauses reading while bytes wait to be parsed."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_held = False
        self._is_reading = True
        #: Whether reading was paused at any time since the last :meth:`look`.
        self.was_paused = False

    def look(self) -> None:
        self.was_paused = not self._is_reading

    def hold(self, is_held: bool) -> None:
        self._is_held = is_held
        self._settle()

    def pause_reading(self) -> None:
        self.read_paused = True
        self._settle()

    def resume_reading(self) -> None:
        self.read_paused = False
        self._settle()

    def _settle(self) -> None:
        may_read = not self.read_paused and not self._is_held
        self._is_reading = let_read(self._transport, self._is_reading, may_read)
        if not self._is_reading:
            self.was_paused = True

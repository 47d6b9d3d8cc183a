"""Flow control for reading from an HTTP connection."""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from .pausing import set_reading


class ParsingFlowControl(FlowControl):
    """uvicorn's flow control, which also pauses reading while bytes wait to be parsed."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_held = False
        self._is_reading = True
        #: Whether reading was paused at any time since the last :meth:`reset_was_paused`.
        self.was_paused = False

    def reset_was_paused(self) -> None:
        self.was_paused = not self._is_reading

    def hold(self, is_held: bool) -> None:
        self._is_held = is_held
        self._update_reading()

    def pause_reading(self) -> None:
        self.read_paused = True
        self._update_reading()

    def resume_reading(self) -> None:
        self.read_paused = False
        self._update_reading()

    def _update_reading(self) -> None:
        may_read = not self.read_paused and not self._is_held
        self._is_reading = set_reading(self._transport, self._is_reading, may_read)
        if not self._is_reading:
            self.was_paused = True

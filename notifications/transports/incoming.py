"""What waits for one client's session: frames from requests, then the end of its response."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..conf import app_settings

#: Bytes of waiting frames at most, as a multiple of the largest frame.
MAX_FRAMES = 8


class Incoming:
    """A queue of frames. One that is full refuses further ones.

    Args:
        overflow: called when a frame is refused.
    """

    def __init__(self, overflow: Callable[[], None]) -> None:
        self._overflow = overflow
        self._frames: deque[str | bytes] = deque()
        self._size = 0
        self._has_ended = False
        self._changed = asyncio.Event()

    def put(self, frame: str | bytes) -> bool:
        """Add a frame; return False if it is refused.

        At most ``COMMAND_BURST`` frames may wait: more commands would be refused anyway.
        """
        is_full = len(self._frames) >= app_settings.COMMAND_BURST
        if is_full or self._size + len(frame) > MAX_FRAMES * app_settings.MAX_FRAME_SIZE:
            self._overflow()
            return False
        self._frames.append(frame)
        self._size += len(frame)
        self._changed.set()
        return True

    def end(self) -> None:
        """Let :meth:`get` return None from now on."""
        self._has_ended = True
        self._changed.set()

    async def get(self) -> str | bytes | None:
        """Wait for the next frame; None after the end."""
        while not self._has_ended:
            if self._frames:
                frame = self._frames.popleft()
                self._size -= len(frame)
                return frame
            self._changed.clear()
            await self._changed.wait()
        return None

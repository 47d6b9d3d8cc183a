"""What ``manage.py serve`` adds to uvicorn: websockets with one more door, for built frames.

Both classes are uvicorn's own kind of part, and it can be started with them by hand::

    uvicorn --ws notifications.server:FrameProtocol --http notifications.server:Door site.asgi:app
"""

from .entrance import Door
from .websocket import FrameProtocol

__all__ = ["Door", "FrameProtocol"]

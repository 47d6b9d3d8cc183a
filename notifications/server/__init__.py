"""What ``manage.py serve`` adds to uvicorn: websockets that also accept prepared frames.

Both classes are uvicorn protocol classes, so uvicorn can also be started with them directly::

    uvicorn --ws notifications.server:FrameProtocol --http notifications.server:Door site.asgi:app
"""

from .entrance import Door
from .websocket import FrameProtocol

__all__ = ["Door", "FrameProtocol"]

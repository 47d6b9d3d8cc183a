"""Settings of a site that answers every request with its garbage collector's settings."""

import gc
import json
from typing import Any

from pushsite.settings import *  # noqa: F403

ASGI_APPLICATION = f"{__name__}.application"
NOTIFICATIONS = {"GC_THRESHOLD": 12_345}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """ASGI: HTTP only."""
    assert scope["type"] == "http"
    answer = {"threshold": gc.get_threshold(), "frozen": gc.get_freeze_count()}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

"""Lets everybody in: whoever comes gets the session of a guest, and a key of the server API.

This is what ``client.insecure`` and ``http_api.insecure`` are in Centrifugo, for which the suites
were written. Our server has no such settings, but a host can be as open as this by itself.
"""

import os
from itertools import cycle
from typing import Any

from pushsite.asgi import application as site

#: Several guests, because the limits of one user do not fit a crowd.
SESSIONS = cycle(os.environ["GUEST_SESSIONS"].split())
KEY = os.environ["GUEST_KEY"]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The site, as it is for somebody who is logged in and has a key."""
    if "headers" in scope:
        others = [pair for pair in scope["headers"] if pair[0] not in (b"cookie", b"x-api-key")]
        cookie = f"sessionid={next(SESSIONS)}".encode()
        scope = {**scope, "headers": [*others, (b"cookie", cookie), (b"x-api-key", KEY.encode())]}
    await site(scope, receive, send)

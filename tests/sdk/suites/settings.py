"""The site's settings as the suites of the SDKs expect a server: open to everybody.

Never use them for a site: whoever comes without a session is logged in, see ``doors.py``.
"""

import os

from pushsite.settings import NOTIFICATIONS
from tests.site_settings import *  # noqa: F403

ASGI_APPLICATION = "tests.sdk.suites.doors.application"

OPEN = {"durable": True, "publish": "authenticated", "history": "authenticated"}

# The suite of the Go SDK expects that presence is not available, the others that it is.
PRESENCE = {} if os.environ["SUITE"] == "go" else {"presence": "authenticated", "join_leave": True}

NOTIFICATIONS |= {
    # The suites sign their tokens with it.
    "TOKEN_SECRET": "secret",
    # A suite sends as fast as it can.
    "COMMAND_RATE": 10_000.0,
    "COMMAND_BURST": 10_000,
    "USER_WORK": 100.0,
    "USER_WORK_BURST": 100.0,
    "NAMESPACES": {
        "": {**OPEN, **PRESENCE},
        "recovery": OPEN,
        "smallhistory": OPEN,
        "delta": OPEN,
    },
}

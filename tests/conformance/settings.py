"""The site's settings, for the conformance tests of Durable Streams.

Nobody but the suite reaches this server, so the limits of one user do not count.
"""

from pushsite.settings import NOTIFICATIONS
from tests.site_settings import *  # noqa: F403

ASGI_APPLICATION = "tests.conformance.writes.application"

NOTIFICATIONS |= {
    "NAMESPACES": {"suite": {"durable": True}},
    "ALLOWED_ORIGINS": ["https://example.com"],  # of the suite's preflight
    "TOKEN_SECRET": "a-secret-that-only-these-tests-share-with-each-other-and-nobody-else",
    "COMMAND_RATE": 1e6,
    "COMMAND_BURST": 1_000_000,
    "USER_WORK": 1e6,
    "USER_WORK_BURST": 1e6,
    "MAX_CONNECTIONS_PER_USER": 10_000,
    "MAX_CONNECTIONS_PER_ADDRESS": 10_000,
    "MAX_DATA_SIZE": 64 * 1024 * 1024,
    # A long-poll without news is answered soon.
    "PING_INTERVAL": 1.0,
    "PONG_TIMEOUT": 0.9,
}

"""The site's settings, with namespaces for the tests of SDKs."""

from pushsite.settings import *  # noqa: F403
from pushsite.settings import NOTIFICATIONS

NOTIFICATIONS["NAMESPACES"] = {
    "chat": {
        "durable": True,
        "publish": "subscribers",
        "presence": "subscribers",
        "join_leave": True,
    },
    "typing": {"publish": "subscribers"},
    "secret": {"durable": True, "subscribe": "token"},
}

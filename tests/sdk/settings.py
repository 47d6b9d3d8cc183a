"""The site's settings, with namespaces for the tests of SDKs."""

from pushsite.settings import NOTIFICATIONS
from tests.site_settings import *  # noqa: F403

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

"""The site's settings, with namespaces of both kinds."""

from pushsite.settings import NOTIFICATIONS
from tests.site_settings import *  # noqa: F403

NOTIFICATIONS["NAMESPACES"] = {
    "chat": {"durable": True, "publish": "subscribers"},
    "typing": {"publish": "subscribers"},
    "secret": {"durable": True, "subscribe": "token"},
}

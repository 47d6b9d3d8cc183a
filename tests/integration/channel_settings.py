"""The site's settings, with namespaces of both kinds."""

from pushsite.settings import *  # noqa: F403
from pushsite.settings import NOTIFICATIONS

NOTIFICATIONS["NAMESPACES"] = {
    "chat": {"durable": True, "publish": "subscribers"},
    "typing": {"publish": "subscribers"},
    "secret": {"durable": True, "subscribe": "token"},
}

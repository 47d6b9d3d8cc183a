"""The site's settings, with namespaces that keep presence."""

from pushsite.settings import NOTIFICATIONS
from tests.site_settings import *  # noqa: F403

NOTIFICATIONS["NAMESPACES"] = {
    "room": {"presence": "subscribers", "join_leave": True, "show_names": True},
    "durable": {"durable": True, "presence": "authenticated", "join_leave": True},
    "secret": {"join_leave": True},
    "plain": {},
}

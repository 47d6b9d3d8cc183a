"""The Django admin: broadcasts, notifications, connections and messages to selected users."""

from . import broadcasts, connections, notifications, users

__all__ = ["broadcasts", "connections", "notifications", "users"]

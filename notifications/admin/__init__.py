"""The Django admin: broadcasts, notifications, connections, API keys, messages to users."""

from . import broadcasts, connections, keys, notifications, users

__all__ = ["broadcasts", "connections", "keys", "notifications", "users"]

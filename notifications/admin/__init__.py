"""The administrator's side: broadcasts, notifications, connections, messages to users."""

from . import broadcasts, connections, notifications, users

__all__ = ["broadcasts", "connections", "notifications", "users"]

"""The system checks of the app.

To accept a warning, add its id to Django's ``SILENCED_SYSTEM_CHECKS``.
"""

from . import contents, databases, deployment, values

__all__ = ["contents", "databases", "deployment", "values"]

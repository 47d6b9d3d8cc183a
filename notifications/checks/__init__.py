"""The system checks of the app.

To accept a warning, add its id to Django's ``SILENCED_SYSTEM_CHECKS``.
"""

from . import adoption, contents, databases, deployment, paths, values

__all__ = ["adoption", "contents", "databases", "deployment", "paths", "values"]

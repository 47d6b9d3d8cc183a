"""The system checks of the app.

A warning that a site has decided to live with goes into Django's ``SILENCED_SYSTEM_CHECKS``.
"""

from . import contents, databases, deployment, values

__all__ = ["contents", "databases", "deployment", "values"]

"""``manage.py runserver``: the development server of daphne, which serves ASGI.

With ``daphne`` in ``INSTALLED_APPS`` the command would be the same. But then every process of the
site would import Twisted: 20 MB, and a third of the CPU time of its start.
"""

from daphne.management.commands.runserver import Command

__all__ = ["Command"]

"""Is django-notifications, which has the same name, out of the way? Runs with every check."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..adoption import files
from ..adoption.traces import Traces, find_traces
from ..models import database_alias
from .databases import SUPPORTED, vendor

logger = logging.getLogger(__name__)

#: Seconds that a check waits for a PostgreSQL that does not answer.
CONNECT_TIMEOUT = 3

#: How many files a message names.
MOST_NAMED = 5


@register(Tags.compatibility)
def check_tables(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """``E011``: the tables or migrations of django-notifications stand where ours belong.

    Most checks leave the database alone unless they are told to look, but ``migrate`` would fail
    half way: a plain ``check`` has to tell, too. So it takes a look of its own, and what keeps it
    from looking is not its business.
    """
    if databases is not None and database_alias() not in databases:
        return []
    traces = _look(database_alias())
    if traces is None or not traces.are_in_the_way:
        return []
    what = "table and migrations" if traces.has_table else "migrations"
    return [
        Error(
            f"The database holds the {what} of django-notifications, which has the same names as "
            "this app: migrate would fail half way.",
            hint="manage.py adopt_django_notifications moves them aside, migrates, and imports the "
            "notifications (--dry-run only says what it would do).",
            id="notifications.E011",
        )
    ]


@register(Tags.compatibility)
def check_files(**kwargs: Any) -> list[CheckMessage]:
    """``E012``: django-notifications-hq is installed, or has left files among those of this app."""
    found = files.foreign_files()
    if not found and not files.is_installed():
        return []
    more = " …" if len(found) > MOST_NAMED else ""
    where = f" In the directory of this app are: {', '.join(found[:MOST_NAMED])}{more}."
    return [
        Error(
            "django-notifications-hq is installed, or was. It has the same package name as this "
            f"app, and each overwrites files of the other.{where if found else ''}",
            hint=files.WAY_OUT,
            id="notifications.E012",
        )
    ]


def _look(alias: str) -> Traces | None:
    if vendor() not in SUPPORTED or vendor() == "unknown":
        return None
    try:
        with _connected(alias) as connection:
            return None if connection is None else find_traces(connection)
    except Exception as error:
        # It is away, or a test allows no look at it, or nothing may block here.
        logger.debug("The database could not be looked at: %s", type(error).__name__)
        return None


@contextmanager
def _connected(alias: str) -> Iterator[BaseDatabaseWrapper | None]:
    """The connection that is open; else one for this question, which gives up soon.

    None if there is no database yet: SQLite would make an empty one.
    """
    connection = connections[alias]
    if connection.connection is not None:
        yield connection
        return
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).is_file():
        yield None
        return
    own = connection.copy()
    if own.vendor == "postgresql":
        options = {**own.settings_dict["OPTIONS"]}
        options.pop("pool", None)
        own.settings_dict["OPTIONS"] = {"connect_timeout": CONNECT_TIMEOUT, **options}
    try:
        yield own
    finally:
        own.close()

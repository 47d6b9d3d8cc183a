"""The database of the app's tables."""

from django.db import router

from .streams import Stream


def database_alias() -> str:
    """Alias of the database that the app writes to.

    Most queries read from it too. A replica may lack entries that were published just now, and
    positions would move over them.
    """
    return router.db_for_write(Stream)

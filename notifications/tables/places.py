"""Where the tables are."""

from django.db import router

from .streams import Stream


def database_alias() -> str:
    """Alias of the database of the app's tables, as it is written to.

    Most reading is done there too: a replica may not know yet what was made or locked just now.
    It would show a hole where something is, and positions would move over it.
    """
    return router.db_for_write(Stream)

"""The database that the environment asks for, with timeouts fit for a server."""

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

#: What libpq may wait for a server that has vanished without a word: seconds, the last one
#: milliseconds. Its own defaults are for ever and two hours.
_POSTGRES = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def database(base_dir: Path) -> dict[str, Any]:
    """Read ``DATABASE_URL``; without it, the file ``db.sqlite3`` in ``DATA_DIR``.

    Args:
        base_dir: stands for ``DATA_DIR`` where that is not set.

    Returns:
        An entry of Django's ``DATABASES``.

    Raises:
        ImproperlyConfigured: the address cannot be read.
    """
    data_dir = Path(os.environ.get("DATA_DIR") or base_dir)
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{data_dir / 'db.sqlite3'}"
    try:
        parsed = dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)
    except ValueError:
        # The message of the library may quote the address, and with it a password.
        raise ImproperlyConfigured(
            "DATABASE_URL must look like postgres://user:password@host/name or sqlite:////path."
        ) from None
    found: dict[str, Any] = {**parsed}
    if found["ENGINE"] == "django.db.backends.postgresql":
        found["OPTIONS"] = {**_POSTGRES, **found.get("OPTIONS", {})}
    if found["ENGINE"] != "django.db.backends.sqlite3":
        return found
    # Without IMMEDIATE a reader that turns into a writer fails at once with "database is locked",
    # whatever the timeout says; WAL lets readers go on while one connection writes.
    found["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        **found.get("OPTIONS", {}),
    }
    return found

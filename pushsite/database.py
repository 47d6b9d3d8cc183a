"""The database that the environment names, with timeouts for a server process."""

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

#: How soon libpq notices that a server has vanished. ``keepalives_count`` is a number of probes,
#: ``tcp_user_timeout`` is in milliseconds, the others are in seconds. By default libpq waits
#: forever to connect, and Linux two hours before the first keepalive.
_POSTGRES = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def database(base_dir: Path) -> dict[str, Any]:
    """Read ``DATABASE_URL``. Without it, use the file ``db.sqlite3`` in ``DATA_DIR``.

    Args:
        base_dir: the directory to use if ``DATA_DIR`` is not set.

    Returns:
        An entry of Django's ``DATABASES``.

    Raises:
        ImproperlyConfigured: ``DATABASE_URL`` cannot be parsed.
    """
    data_dir = Path(os.environ.get("DATA_DIR") or base_dir)
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{data_dir / 'db.sqlite3'}"
    try:
        parsed = dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)
    except ValueError:
        # The library's message may quote the URL, and so a password.
        raise ImproperlyConfigured(
            "DATABASE_URL must look like postgres://user:password@host/name or sqlite:////path."
        ) from None
    found: dict[str, Any] = {**parsed}
    if found["ENGINE"] == "django.db.backends.postgresql":
        found["OPTIONS"] = {**_POSTGRES, **found.get("OPTIONS", {})}
    if found["ENGINE"] != "django.db.backends.sqlite3":
        return found
    # Without IMMEDIATE, a read transaction that starts to write fails at once with "database is
    # locked", regardless of the timeout. WAL lets readers go on while one connection writes.
    found["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        **found.get("OPTIONS", {}),
    }
    return found

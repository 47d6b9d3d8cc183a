"""Notifying every worker that the rights of users have changed, so that it updates sockets (P6)."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import Error as DatabaseError

from ..database.transactions import after_commit
from ..layer import announcer, send_changed, type_prefix
from ..metrics import DATABASE_ERRORS
from ..models import database_alias
from ..protocol.codes import Disconnect
from . import names as stream_names
from . import revisions


def changed(user_ids: Iterable[Any], using: str | None = None, session: str = "") -> None:
    """Make every hub check these users again, once the current transaction has committed.

    Args:
        user_ids: primary keys of any number of users.
        using: alias of the database whose commit is awaited; default the app's own.
        session: digest of a session key that has been logged out. Its connections are closed
            without asking the database, where the session may still exist for a moment.
    """
    names = [stream_names.user_stream(user_id) for user_id in user_ids]
    if not names:
        return
    after_commit(using or database_alias(), _notify_workers, names, session)


def close(user_id: Any, why: Disconnect, *, only: str = "", spared: Sequence[str] = ()) -> None:
    """Ask every hub to close connections of a user, once the current transaction has committed.

    This is a hint, which may be lost; the mark in the row of a connection is not.

    Args:
        user_id: primary key of the user.
        why: the close code and reason.
        only: id of the client to close; "" for all clients.
        spared: ids of clients that stay connected.
    """
    name = stream_names.user_stream(user_id)
    message = {"type": f"{type_prefix}close", "stream": name, **why._asdict()}
    message |= {"only": only, "spared": list(spared)}
    after_commit(database_alias(), announcer.send, name, message)


def expire(user_id: Any, expire_at: int, *, only: str = "") -> None:
    """Ask every hub to limit the time of a user's connections, once the transaction has committed.

    This is a hint, which may be lost; the time in the row of a connection is not.

    Args:
        user_id: primary key of the user.
        expire_at: Unix time in seconds.
        only: id of the client; "" for all clients.
    """
    name = stream_names.user_stream(user_id)
    message = {"type": f"{type_prefix}expire", "stream": name, "at": expire_at, "only": only}
    after_commit(database_alias(), announcer.send, name, message)


def _notify_workers(names: list[str], session: str) -> None:
    """Raise the revisions, for workers that get no hints; then send the hints in any case."""
    try:
        revisions.touch(names)
    except DatabaseError:
        # Each worker checks all its users again within RIGHTS_INTERVAL.
        DATABASE_ERRORS.inc()
        raise
    finally:
        for name in names:
            send_changed(name, session)

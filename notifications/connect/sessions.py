"""Django's sessions, of many keys at once: one query per 500 keys if the database has them."""

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.utils import timezone
from django.utils.crypto import constant_time_compare

#: Valid session keys. Any other key has no session, and some session stores reject it.
PLAIN_KEY = re.compile(r"[!-~]{8,4096}\Z")


def session_digest(key: str) -> str:
    """Return a digest that replaces a session key elsewhere: the key itself is a credential."""
    return blake2b(key.encode(), digest_size=16).hexdigest()


def load_sessions(keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the data of those of these sessions that have not expired, by key."""
    if not keys:  # a project without sessions has no table for them, and no model
        return {}
    store = _store()
    if not _is_in_database(store):
        return {key: store(key).load() for key in keys}
    return {row.session_key: row.get_decoded() for rows in _rows(store, keys) for row in rows}


def existing_sessions(keys: Sequence[str]) -> set[str]:
    """Return those of these session keys that have a session, of whichever user."""
    if not keys:
        return set()
    store = _store()
    if not _is_in_database(store):
        return {key for key in keys if store(key).load()}
    found = (rows.values_list("session_key", flat=True) for rows in _rows(store, keys))
    return {key for some in found for key in some}


def session_contents(keys: Sequence[str]) -> dict[str, str]:
    """Return what is stored under those of these session keys that have not expired.

    It is for comparison only. For sessions outside the database it is empty.
    """
    if not keys or not _is_in_database(store := _store()):
        return {}
    found = (rows.values_list("session_key", "session_data") for rows in _rows(store, keys))
    return {key: data for some in found for key, data in some}


def session_is_valid(data: dict[str, Any], user: Any) -> bool:
    """Check backend, user and password hash like :func:`django.contrib.auth.get_user`."""
    if data.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    if not user.is_active:
        return False
    if not hasattr(user, "get_session_auth_hash"):
        return True
    known = data.get(HASH_SESSION_KEY, "")
    if not known:
        return False
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(known, value) for value in hashes)


def _store() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore


def _is_in_database(store: Any) -> bool:
    return hasattr(store, "get_model_class")


def _rows(store: Any, keys: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(keys), 500):
        yield store.get_model_class()._default_manager.filter(
            session_key__in=keys[start : start + 500], expire_date__gt=timezone.now()
        )

"""Keys of the server API: making one, and finding the one that a request presents.

A key has 256 random bits, so no rate of attempts can guess it: wrong keys need no limit. For the
same reason its digest needs neither salt nor many rounds. Keys are in no log.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _

from ..database.clock import present
from ..database.locks import limit_waiting
from ..models import APIKey, database_alias
from ..namespaces import MAX_CHANNEL
from ..texts import is_storable

#: How every key begins, so that scanners for leaked secrets can recognise one.
BEGINNING = "ntf_"

#: Characters of a key that are shown, so that a person can tell keys apart. 208 bits stay secret.
SHOWN = len(BEGINNING) + 8

KEY = re.compile(r"ntf_[A-Za-z0-9_-]{43}\Z")

#: For how long the last use of a key is not written again.
USE_INTERVAL = timedelta(minutes=1)

#: Seconds that writing it waits for somebody who is changing the key.
USE_LOCK_WAIT = 0.2


def make_secret(key: APIKey) -> str:
    """Give an unsaved key its secret.

    Returns:
        The secret, which can never be shown again.
    """
    secret = BEGINNING + secrets.token_urlsafe(32)
    key.prefix, key.digest = secret[:SHOWN], _digest(secret)
    return secret


def check_channels(channels: Iterable[str]) -> list[str]:
    """Check what a key's scope may have as channels, and leave out repetitions.

    Raises:
        ValidationError: one of them can match no channel.
    """
    found = list(dict.fromkeys(channels))
    for channel in found:
        if not 0 < len(channel) <= MAX_CHANNEL or "*" in channel[:-1] or not is_storable(channel):
            raise ValidationError(_("A channel is a name, or the beginning of one and “*”."))
    return found


def make_key(name: str, methods: Iterable[str], channels: Iterable[str]) -> tuple[APIKey, str]:
    """Create a key.

    Args:
        name: says who uses it, at most 100 characters.
        methods: names of methods that it may call.
        channels: names of channels that it may use; a ``*`` at the end stands for any characters.

    Returns:
        The saved key, and its secret, which can never be shown again.

    Raises:
        ValidationError: see :func:`check_channels`.
    """
    key = APIKey(name=name, methods=list(methods), channels=check_channels(channels))
    secret = make_secret(key)
    key.save(using=database_alias())
    return key, secret


def find_key(secret: str) -> APIKey | None:
    """Return the active key with this secret; None if there is none.

    A text that no key can be costs no query.
    """
    if not KEY.match(secret):
        return None
    digest = _digest(secret)
    # A replica may not know yet that a key is no longer active.
    key = APIKey.objects.using(database_alias()).filter(digest=digest, is_active=True).first()
    if key is None or not constant_time_compare(key.digest, digest):
        return None
    return key


def note_use(key: APIKey) -> None:
    """Write when the key was last used, unless that was written within the last minute.

    An error of the database is ignored: the time is for people only.
    """
    alias = database_alias()
    if key.last_used_at is not None and timezone.now() - key.last_used_at < USE_INTERVAL:
        return
    try:
        with transaction.atomic(using=alias):
            limit_waiting(alias, USE_LOCK_WAIT)
            rows = APIKey.objects.using(alias).filter(pk=key.pk, last_used_at=key.last_used_at)
            rows.update(last_used_at=present(alias))
    except DatabaseError:
        return


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

"""A notification as it travels: encoded once, for whoever reads it."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from django.utils.functional import Promise

from ..models import Notification
from ..texts import plain

logger = logging.getLogger(__name__)

#: What encoding raises on values that JSON does not know.
UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


class Publication(NamedTuple):
    """What travels: a notification's encoded content (JSON) plus its offset."""

    offset: int
    data: bytes


def publication(notification: Notification) -> Publication:
    """Encode a sequenced notification.

    Raises:
        ValueError: it has no offset yet, or content that is not JSON.
    """
    if notification.offset is None:
        raise ValueError(f"notification {notification.pk} is waiting")
    return Publication(notification.offset, encode_content(notification))


def encode_content(notification: Notification) -> bytes:
    """A notification as it travels; one that is not saved yet has no ``id``.

    Raises:
        ValueError: its content is not JSON.
    """
    try:
        return msgspec.json.encode(content(notification), enc_hook=_plain_text)
    except UNENCODABLE as error:
        raise ValueError(f"notification {notification.pk}: {error}") from error


def content(notification: Notification) -> dict[str, Any]:
    """What a client gets as a publication's ``data``; absent values are left out."""
    fields = {
        "id": notification.pk,
        "kind": notification.kind,
        "level": notification.level,
        "title": notification.title,
        "body": notification.body,
        "url": notification.url,
        "data": notification.data,
        "actor": None if notification.actor is None else describe_user(notification.actor),
        "created": _iso(notification.created_at),
        "expires": _iso(notification.expires_at),
    }
    return {name: value for name, value in fields.items() if value not in (None, "", {})}


def describe_user(user: Any) -> dict[str, str]:
    """How a user is named to clients: primary key as text, and full name or user name."""
    full_name = getattr(user, "get_full_name", str)()
    name = plain(full_name or user.get_username())
    # What a host's code makes up need not be text that can be encoded.
    return {"id": plain(user.pk), "name": name.encode(errors="replace").decode()}


def encode_rows(rows: Iterable[Notification]) -> list[Publication]:
    """Publications of sequenced rows. One that cannot be sent must not hold up those behind it."""
    publications = []
    for row in rows:
        try:
            publications.append(publication(row))
        except ValueError as error:  # written past the checks of publishing
            logger.error("A publication is left out: %s", error)  # noqa: TRY400 - no bug of ours
    return publications


def _plain_text(value: Any) -> str:
    """For texts of a notification that was never reloaded."""
    if isinstance(value, str | Promise):
        return plain(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Encoding of notifications for the wire: once for all readers."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from django.utils.functional import Promise

from ..models import Notification
from ..protocol import messages
from ..texts import plain
from .instants import instant
from .names import is_channel

logger = logging.getLogger(__name__)

#: Errors that encoding raises for values that JSON cannot represent.
UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


class Details(NamedTuple):
    """What a publication of a channel has besides its data; see ``client.proto``.

    ``time`` is in milliseconds since 1970, ``size`` in bytes of JSON: that of data, info and tags.
    """

    info: messages.ClientInfo | None
    tags: dict[str, str]
    time: int
    size: int


class Publication(NamedTuple):
    """The encoded content of a notification or publication (JSON), and its offset.

    Only publications of channels have ``details``.
    """

    offset: int
    data: bytes
    details: Details | None = None

    @property
    def size(self) -> int:
        """Bytes of what varies in its encoding."""
        return len(self.data) if self.details is None else self.details.size

    def message(self) -> messages.Publication:
        """The publication as a part of a reply or push."""
        data = msgspec.Raw(self.data)
        if self.details is None:
            return messages.Publication(data=data, offset=self.offset)
        info, tags, time, _ = self.details
        return messages.Publication(data, self.offset, info, tags, time)


def publication(notification: Notification) -> Publication:
    """Encode a sequenced notification.

    Raises:
        ValueError: it has no offset yet, or its content cannot be encoded as JSON.
    """
    if notification.offset is None:
        raise ValueError(f"notification {notification.pk} has no offset yet")
    content = encode_content(notification)
    if notification.publication is not None:
        return restored(notification.offset, content, instant(notification.published_at))
    return Publication(notification.offset, content)


def announced(channel: str, offset: int, content: bytes, at: int) -> Publication:
    """The publication that a worker has announced.

    Args:
        channel: name of the stream.
        offset: offset of the publication in it.
        content: what :func:`encode_content` returned for it.
        at: when it was published, in microseconds since 1970.

    Raises:
        ValueError: this is no content of a publication.
    """
    return restored(offset, content, at) if is_channel(channel) else Publication(offset, content)


def restored(offset: int, content: bytes, at: int) -> Publication:
    """Take the JSON of a channel's publication apart; see :func:`announced`."""
    whole = _whole_publication.decode(content)
    details = Details(whole.info, whole.tags, at // 1000, len(content))
    return Publication(offset, bytes(whole.data), details)


_whole_publication = msgspec.json.Decoder(messages.Publication)


def encode_content(notification: Notification) -> bytes:
    """Encode the content of a notification as JSON; without ``id`` if it is not saved yet.

    Raises:
        ValueError: its content cannot be encoded as JSON.
    """
    if notification.publication is not None:
        return notification.publication.encode()
    try:
        return msgspec.json.encode(content(notification), enc_hook=_plain_text)
    except UNENCODABLE as error:
        raise ValueError(f"notification {notification.pk}: {error}") from error


def content(notification: Notification) -> dict[str, Any]:
    """The ``data`` of a publication, without empty values."""
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
    """Describe a user to clients: primary key as text, and full name or username."""
    full_name = getattr(user, "get_full_name", str)()
    name = plain(full_name or user.get_username())
    # A name that the host's code makes up may contain lone surrogates.
    return {"id": plain(user.pk), "name": name.encode(errors="replace").decode()}


def encode_rows(rows: Iterable[Notification]) -> list[Publication]:
    """Encode sequenced rows; rows that cannot be encoded are logged and left out."""
    publications = []
    for row in rows:
        try:
            publications.append(publication(row))
        except ValueError as error:  # written without the checks of publishing
            logger.error("A notification cannot be encoded and is skipped: %s", error)  # noqa: TRY400 - no bug of ours
    return publications


def _plain_text(value: Any) -> str:
    """``enc_hook`` for lazy texts of a notification that was not reloaded from the database."""
    if isinstance(value, str | Promise):
        return plain(value)
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON")


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

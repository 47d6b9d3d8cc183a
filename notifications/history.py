"""The read side of streams: pages of publications after a position, and tops."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from .models import Notification, Stream


class Publication(NamedTuple):
    """What travels: a notification's encoded content (JSON) plus its offset."""

    offset: int
    data: bytes


class Page(NamedTuple):
    """Publications in order, and the position they lead to.

    ``offset`` is the position after the page: the last publication's offset or, at the end of
    the stream, the top that was read first, so that the position moves over what is not sent
    (expired, withdrawn, pruned). ``more`` tells that further publications lie behind it.
    """

    publications: list[Publication]
    offset: int
    more: bool


class Top(NamedTuple):
    """Where a stream ends, and how often its user's state has changed."""

    epoch: str
    offset: int
    revision: int


def read_page(stream_id: int, after: int, limit: int, now: datetime | None = None) -> Page:
    """The next ``limit`` publications after the offset ``after``.

    The top is read before the rows: a publication sequenced in between is in the page or lies
    behind it, never under its position.
    """
    top = Stream.objects.values_list("top", flat=True).get(pk=stream_id)
    rows = list(_rows(stream_id, now).filter(offset__gt=after).order_by("offset")[: limit + 1])
    more = len(rows) > limit
    publications = [publication(row) for row in rows[:limit]]
    last = publications[-1].offset if publications else after
    return Page(publications, last if more else max(last, top), more)


def read_back(
    stream_id: int, before: int, since: int, limit: int, now: datetime | None = None
) -> list[Publication]:
    """Up to ``limit`` publications below ``before`` and above ``since``, newest first."""
    rows = _rows(stream_id, now).filter(offset__lt=before, offset__gt=since)
    return [publication(row) for row in rows.order_by("-offset")[:limit]]


def read_tops(stream_ids: Iterable[int]) -> dict[int, Top]:
    """Epoch, top and revision of streams, by stream id. Streams that are gone are left out."""
    ids = list(stream_ids)
    tops: dict[int, Top] = {}
    for start in range(0, len(ids), 1000):
        rows = Stream.objects.filter(pk__in=ids[start : start + 1000])
        for pk, epoch, top, revision in rows.values_list("pk", "epoch", "top", "revision"):
            tops[pk] = Top(epoch, top, revision)
    return tops


def publication(notification: Notification) -> Publication:
    """Encode a sequenced notification.

    Raises:
        ValueError: it has no offset yet.
    """
    if notification.offset is None:
        raise ValueError(f"notification {notification.pk} is waiting")
    return Publication(notification.offset, msgspec.json.encode(content(notification)))


def content(notification: Notification) -> dict[str, Any]:
    """What a client gets as a publication's ``data``; absent values are left out."""
    fields = {
        "id": notification.pk,
        "kind": notification.kind,
        "level": notification.level,
        "title": notification.title,
        "body": notification.body,
        "url": notification.url,
        "data": _plain(notification.data),
        "actor": _actor(notification),
        "created": _iso(notification.created_at),
        "expires": _iso(notification.expires_at),
    }
    return {name: value for name, value in fields.items() if value not in (None, "", {})}


def _rows(stream_id: int, now: datetime | None) -> Any:
    visible = Notification.objects.visible(now or timezone.now())
    return visible.filter(stream=stream_id).select_related("actor")


def _actor(notification: Notification) -> dict[str, Any] | None:
    actor = notification.actor
    if actor is None:
        return None
    full_name = getattr(actor, "get_full_name", str)()
    return {"id": str(actor.pk), "name": full_name or actor.get_username()}


def _plain(data: Any) -> Any:
    # A notification that was never reloaded may still hold dates, decimals or lazy texts.
    return msgspec.json.decode(DjangoJSONEncoder().encode(data)) if data else None


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

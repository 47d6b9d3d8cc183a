"""Signatures: the database finds the streams that have changed since they were read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import F

from notifications import broadcast
from notifications.models import Stream
from notifications.streams import signatures
from notifications.streams.history import read_tops
from notifications.streams.instants import instant
from notifications.streams.revisions import touch
from notifications.streams.rows import ensure
from tests.rooms import plans

pytestmark = pytest.mark.django_db(transaction=True)


def read() -> list[str]:
    tops = read_tops(Stream.objects.values_list("pk", flat=True))
    return [top.signature for top in tops.values()]


def change(**values: object) -> Callable[[str], object]:
    return lambda name: Stream.objects.filter(name=name).update(**values)


def test_streams_as_they_were_are_not_found() -> None:
    ensure(f"topic:{number}" for number in range(signatures.PER_QUERY + 1))
    broadcast("news")
    assert signatures.changed(read()) == set()
    assert signatures.changed([]) == set()


@pytest.mark.parametrize(
    "alter",
    [
        lambda _: broadcast("more news"),
        lambda name: touch([name]),
        lambda name: Stream.objects.filter(name=name).delete(),
        change(epoch="another"),
        change(top=F("top") - 1),
        change(top=F("top") + 1),
        change(revision=F("revision") - 1),
        change(published_at=F("published_at") + timedelta(microseconds=1)),
        change(published_at=None),
    ],
)
def test_every_change_of_a_stream_is_found(alter: Callable[[str], object]) -> None:
    ensure(f"topic:{number}" for number in range(signatures.PER_QUERY))
    broadcast("news")
    touch(["broadcast"])
    before, pk = read(), Stream.objects.get(name="broadcast").pk
    alter("broadcast")
    assert signatures.changed(before) == {pk}


@pytest.mark.parametrize("fraction", [0, 1, 120_000, 100_000, 999_999])
def test_a_signature_can_be_told_without_the_row(fraction: int) -> None:
    stream = ensure(["topic:a"])["topic:a"]
    at = datetime(2026, 1, 10, 20, 0, 0, fraction, UTC)
    Stream.objects.filter(pk=stream.pk).update(top=7, revision=2, published_at=at)
    found = read_tops([stream.pk])[stream.pk]
    told = signatures.expected(stream.pk, stream.epoch, 7, 2, instant(at))
    assert found.signature == told


def test_rows_are_found_by_their_primary_key() -> None:
    ensure(f"topic:{number}" for number in range(20))
    before = read()[:3]
    used = plans(lambda: signatures.changed(before), about="LEFT JOIN")
    assert "INTEGER PRIMARY KEY" in used or "notifications_stream_pkey" in used
    assert "SCAN notifications_stream" not in used

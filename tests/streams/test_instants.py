"""Instants are the same in Python and in the database."""

import random
from datetime import UTC, datetime

import pytest

from notifications.models import Stream
from notifications.streams.history import read_tops
from notifications.streams.instants import MICROSECOND, instant, moment

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_database_computes_the_same_instants_as_python() -> None:
    """Instants are compared for equality across databases and workers."""
    chance = random.Random(1)
    day = datetime(2026, 1, 1, tzinfo=UTC)
    times: list[datetime | None] = [None, day, *(day + n * MICROSECOND for n in (1, 10, 999_999))]
    times += [day + chance.randrange(2 * 10**15) * MICROSECOND for _ in range(300)]
    Stream.objects.bulk_create(
        Stream(name=f"topic:{number}", published_at=at) for number, at in enumerate(times)
    )
    tops = read_tops(Stream.objects.values_list("pk", flat=True))
    for stream in Stream.objects.all():
        assert tops[stream.pk].at == instant(stream.published_at)
        assert moment(tops[stream.pk].at) == stream.published_at

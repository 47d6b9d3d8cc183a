"""Reading the past of a stream: pages, offsets, headers and refusals."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from notifications import broadcast, notify
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Notification, Stream
from tests.peers import log_in, running_hub
from tests.rooms import fill, make_user
from tests.transports.durable_streams.requests import Exchange, Reader

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, PAGE_SIZE=3) as running:
        yield running


@pytest.fixture
async def user() -> Any:
    return await in_database(make_user)


async def test_a_stream_is_read_from_its_beginning_page_by_page(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    for number in range(5):
        await in_database(notify, user, f"n{number}")
    first = await reader.read("-1")
    assert (first.status, first.titles, first.is_up_to_date) == (200, ["n0", "n1", "n2"], False)
    second = await reader.read(first.offset)
    assert (second.titles, second.is_up_to_date) == (["n3", "n4"], True)
    last = await reader.read(second.offset)
    assert (last.titles, last.offset, last.is_up_to_date) == ([], second.offset, True)
    assert first.offset < second.offset
    assert first.headers["content-type"] == "application/json"
    assert (await reader.read()).body == first.body

"""The admin's list of notifications, in a table that is mostly publications of channels."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from notifications import broadcast
from notifications.models import Notification, Stream
from tests.rooms import plans

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/notifications/notification/"


@pytest.fixture
def boss() -> Client:
    """A superuser's browser; a few notifications are below many publications."""
    for number in range(3):
        broadcast(f"number {number}", kind="a.kind")
    chat = Stream.objects.create(name="chat:7")
    Notification.objects.bulk_create(
        Notification(stream=chat, offset=number + 1, kind="publication", publication="{}")
        for number in range(3000)
    )
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


def test_the_list_counts_and_reads_notifications_by_an_index_without_publications(
    boss: Client,
) -> None:
    plan = plans(lambda: boss.get(LIST))
    table = re.compile("(on|SCAN|SEARCH) notifications_notification")
    reads = [line for line in plan.splitlines() if table.search(line)]
    assert len(reads) == 3, "the count, the page, and the kinds"
    assert all("notification_listed" in line for line in reads), plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def test_recent_kinds_are_those_of_notifications(boss: Client) -> None:
    page = boss.get(LIST).content.decode()
    assert "?kind=a.kind" in page
    assert "?kind=publication" not in page

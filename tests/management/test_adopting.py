"""What ``adopt_django_notifications`` makes of its options."""

from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from notifications.adoption.reports import Report
from notifications.adoption.traces import OLD_TABLE
from notifications.models import Notification
from tests.adoption.old_table import OldTable, old_table
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def table() -> Iterator[OldTable]:
    with old_table() as made:
        yield made


def adopt(*args: str) -> None:
    call_command("adopt_django_notifications", "--verbosity", "0", *args)


@pytest.mark.parametrize(
    "name", ["notifications_notification", "django_notifications_notification"]
)
def test_the_old_table_may_be_named_before_and_after_it_was_moved(
    table: OldTable, name: str
) -> None:
    table.add(make_user("ada"), "came")
    adopt("--table", name)
    assert Notification.objects.get().key == "django-notifications:1"
    adopt()
    assert Notification.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [("auth_user", "lacks the columns .*verb"), ("no_such_table", "There is no table")],
)
def test_a_table_without_notifications_is_refused(table: OldTable, name: str, reason: str) -> None:
    with pytest.raises(CommandError, match=f"{reason}.*Nothing was changed"):
        adopt("--table", name)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00+02:00", "9999-12-31T23:59-02:00", "soon", "2024-13-01"]
)
def test_a_time_that_is_none_is_refused(table: OldTable, text: str) -> None:
    with pytest.raises(CommandError, match="is no time"):
        adopt("--since", text)


def test_a_day_begins_in_the_time_zone_of_the_site(table: OldTable, settings) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    user = make_user("ada")
    table.add(user, "before", 0.6)  # 2024-01-01 14:24 in UTC
    table.add(user, "after", 0.65)
    adopt("--since", "2024-01-02")
    assert [row.title for row in Notification.objects.all()] == ["ada after"]


def test_nothing_is_deleted_while_the_import_is_half_done(table: OldTable) -> None:
    for name in ("ada", "bob"):
        table.add(make_user(name), "came")

    class Killed(BaseException):
        pass

    def kill(report: Report) -> None:
        raise Killed

    with pytest.raises(Killed):
        table.work(size=1).run(kill)
    with pytest.raises(CommandError, match="not complete"):
        adopt("--no-import", "--drop-old")
    assert table.work().count() == 2


def test_what_nobody_wants_is_deleted_without_an_import(table: OldTable) -> None:
    table.add(make_user("ada"), "came")
    adopt("--no-import", "--drop-old")
    assert not Notification.objects.exists()
    assert OLD_TABLE not in connection.introspection.table_names()

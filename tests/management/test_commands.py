"""The commands ``notify``, ``broadcast``, ``prune_notifications`` and ``renew_epochs``."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings
from django.utils import timezone

from notifications.models import Notification, Stream, Subscription
from notifications.streams import incarnation
from notifications.streams.epochs import Renewed
from tests.rooms import LONG_AGO, fill, make_old_users, make_user, write

pytestmark = pytest.mark.django_db(transaction=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*args: str, **options: Any) -> str:
    """Run a command, whose arguments are parsed as from a shell, and return its output."""
    out = io.StringIO()
    call_command(*args, stdout=out, **options)
    return out.getvalue().strip()


def fails(*args: str) -> str:
    """Check that a command fails and writes nothing, and return its error message."""
    with pytest.raises(CommandError) as failure:
        run(*args)
    assert not Notification.objects.exists()
    assert not Stream.objects.filter(top__gt=0).exists()
    return str(failure.value)


def only() -> Notification:
    return Notification.objects.select_related("stream").get()


# notify


def test_the_example_of_notify_in_the_readme_works() -> None:
    reader = make_user("reader")
    said = run("notify", "reader", "Your order has shipped", "--url", "/orders/7/")
    row = only()
    assert said == f"Sent notification {row.pk} to reader."
    assert (row.title, row.url, row.stream_name, row.offset) == (
        "Your order has shipped",
        "/orders/7/",
        f"user:{reader.pk}",
        1,
    )
    assert (row.kind, row.level) == ("message", "info")


def test_notify_takes_all_fields_of_a_notification() -> None:
    make_user("reader")
    run(
        *("notify", "reader", "Title", "--body", "Text", "--level", "success"),
        *("--kind", "order.shipped", "--data", '{"order": 7}', "--key", "once"),
        *("--expires", "2h"),
    )
    row = only()
    assert (row.body, row.level, row.kind, row.data, row.key) == (
        "Text",
        "success",
        "order.shipped",
        {"order": 7},
        "once",
    )
    assert row.expires_at is not None
    assert abs(row.expires_at - row.publish_at - timedelta(hours=2)) < timedelta(seconds=5)


def test_notify_sends_to_each_of_several_users_once() -> None:
    make_user("reader")
    make_user("writer")
    assert run("notify", "reader,writer, reader", "Hello") == "Sent 2 notifications."
    assert Notification.objects.count() == 2


def test_notify_all_sends_to_active_users() -> None:
    make_user("reader")
    make_user("gone", is_active=False)
    assert "to reader" in run("notify", "--all", "Hello")
    assert only().title == "Hello"


@pytest.mark.parametrize(
    "words",
    [
        ("reader", "--url", "/x/", "Hello"),
        ("--url", "/x/", "reader", "Hello"),
        ("reader", "Hello", "--url", "/x/"),
        ("--all", "Hello", "--url", "/x/"),
        ("--all", "--url", "/x/", "Hello"),
    ],
)
def test_options_are_accepted_at_any_position(words: tuple[str, ...]) -> None:
    make_user("reader")
    run("notify", *words)
    assert (only().title, only().url) == ("Hello", "/x/")


def test_notify_group_sends_to_its_active_members() -> None:
    group = Group.objects.create(name="Night shift")
    group.user_set.add(make_user("reader"), make_user("gone", is_active=False))
    make_user("other")
    assert "to reader" in run("notify", "--group", "Night shift", "Hello")
    assert "to reader" in run("notify", "--group", str(group.pk), "Hello")
    assert Notification.objects.count() == 2


def test_notify_an_unknown_group_sends_nothing() -> None:
    assert fails("notify", "--group", "Nobody", "Hello") == "--group: There is no group “Nobody”."
    assert fails("notify", "--group", "", "Hello").startswith("--group: ")


def test_notify_all_without_users_sends_nothing() -> None:
    assert run("notify", "--all", "Hello") == "There are no recipients."


def test_the_same_key_sends_once() -> None:
    make_user("reader")
    first = run("notify", "reader", "Hello", "--key", "k")
    assert run("notify", "reader", "Hello again", "--key", "k") == first
    assert only().title == "Hello"


def test_unknown_users_are_named_and_nothing_is_sent() -> None:
    make_user("reader")
    said = fails("notify", "reader,nobody,noone", "Hello")
    assert "users: There is no user “nobody”, “noone”" in said


def test_recipients_are_named_in_exactly_one_way() -> None:
    make_user("reader")
    assert fails("notify", "Hello").startswith("users: ")
    assert fails("notify", "--all", "reader", "Hello").startswith("users: ")
    assert fails("notify", "--all", "--group", "a", "Hello").startswith("users: ")


def test_at_schedules_a_notification() -> None:
    make_user("reader")
    said = run("notify", "reader", "Later", "--at", "2999-12-31T18:00", "--expires", "1d")
    row = only()
    assert said == f"Waiting until 2999-12-31 18:00+00:00: notification {row.pk} to reader."
    assert row.offset is None
    assert row.publish_at == datetime(2999, 12, 31, 18, tzinfo=UTC)
    assert row.expires_at == datetime(3000, 1, 1, 18, tzinfo=UTC)


@override_settings(TIME_ZONE="Asia/Tokyo")
def test_times_without_a_zone_are_in_the_time_zone_of_the_site() -> None:
    make_user("reader")
    run("notify", "reader", "Later", "--at", "2999-12-31T18:00")
    run("notify", "reader", "Later", "--at", "2999-12-31T18:00+02:00")
    hours = [row.publish_at.astimezone(UTC).hour for row in Notification.objects.order_by("pk")]
    assert hours == [9, 16]


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("PT2H", timedelta(hours=2)),
        ("P3D", timedelta(days=3)),
    ],
)
def test_expires_takes_a_duration(text: str, length: timedelta) -> None:
    make_user("reader")
    run("notify", "reader", "Soon gone", "--expires", text)
    expires_at = only().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - length) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "javascript:alert(1)"), "--url: "),
        (("--url", "//evil.example"), "--url: "),
        (("--kind", "No Slug"), "--kind: "),
        (("--level", "loud"), "--level"),
        (("--data", "{"), "--data: This is not JSON"),
        (("--data", "[1]"), "--data: This must be a dict."),
        (("--key", "k" * 201), "--key: "),
        (("--body", "x" * 10_001), "--body: "),
        (("--at", "tomorrow"), "--at: 'tomorrow' is not a time"),
        (("--at", "2030-02-30T18:00"), "--at: '2030-02-30T18:00' does not exist"),
        (("--expires", "soon"), "--expires: 'soon' is not a time"),
        (("--expires", "2020-01-01"), "--expires: This must be later than publish_at."),
        (("--expires", "99999999999d"), "--expires: 99999999999d is too long."),
        (("--expires", "999999999d"), "--expires: 999999999d is too long."),
    ],
)
def test_an_invalid_argument_is_named_and_nothing_is_written(
    arguments: tuple[str, ...], said: str
) -> None:
    make_user("reader")
    assert said in fails("notify", "reader", "Hello", *arguments)
    assert said in fails("broadcast", "Hello", *arguments)


def test_each_invalid_argument_has_its_own_line() -> None:
    make_user("reader")
    lines = fails("notify", "reader", "", "--url", "ftp://x", "--kind", "!").splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["--kind", "--url", "title"]


def test_a_title_that_is_too_long_is_named() -> None:
    make_user("reader")
    assert fails("notify", "reader", "x" * 201).startswith("title: ")


def test_progress_is_shown_on_a_terminal_only_for_many() -> None:
    make_old_users(1200)
    terminal, file = Terminal(), io.StringIO()
    assert run("notify", "--all", "Hello", stderr=terminal) == "Sent 1200 notifications."
    assert terminal.getvalue().startswith("\r[")
    assert "1200 of 1200\n" in terminal.getvalue()
    run("notify", "--all", "Hello", stderr=file)
    assert file.getvalue() == ""
    quiet = Terminal()
    run("notify", "--all", "--no-progress", "Hello", stderr=quiet)
    assert quiet.getvalue() == ""
    few = Terminal()
    run("notify", "user1", "Hello", stderr=few)
    assert few.getvalue() == ""


# broadcast


def test_broadcast_goes_to_everyone() -> None:
    said = run("broadcast", "Maintenance at 22:00", "--level", "warning")
    row = only()
    assert said == f"Sent broadcast {row.pk} to everyone."
    assert (row.stream_name, row.kind, row.level) == ("broadcast", "broadcast", "warning")


def test_broadcast_to_each_audience() -> None:
    group = Group.objects.create(name="Night shift")
    for to, stream in {
        "everyone": "broadcast",
        "staff": "staff",
        "group:Night shift": f"group:{group.pk}",
        f"group:{group.pk}": f"group:{group.pk}",
        "topic:releases": "topic:releases",
    }.items():
        assert run("broadcast", "Hello", "--to", to).endswith(f"to {to}.")
        assert Notification.objects.latest("pk").stream_name == stream


@pytest.mark.parametrize("to", ["all", "user:1", "topic:", "topic:a b", "group:", ""])
def test_an_unknown_audience_is_refused(to: str) -> None:
    assert fails("broadcast", "Hello", "--to", to).startswith("--to: ")


def test_an_unknown_group_is_named() -> None:
    assert (
        fails("broadcast", "Hello", "--to", "group:Nobody") == "--to: There is no group “Nobody”."
    )
    assert fails("broadcast", "Hello", "--to", "group:77") == "--to: There is no group “77”."


def test_broadcast_at_a_time_waits() -> None:
    said = run("broadcast", "Later", "--to", "staff", "--at", "2999-12-31T18:00Z")
    assert said == f"Waiting until 2999-12-31 18:00+00:00: broadcast {only().pk} to staff."


# prune_notifications


def test_prune_reports_what_it_deletes() -> None:
    user = User.objects.create_user("reader")
    fill(f"user:{user.pk}", 2)
    write("staff", withdrawn_at=LONG_AGO)
    write("broadcast", publish_at=LONG_AGO)
    text = "2 published notifications (2 were never delivered), 1 withdrawn before they were sent"
    assert run("prune_notifications", "--dry-run").startswith(f"Would delete {text}")
    assert Notification.objects.count() == 4
    assert run("prune_notifications").startswith(f"Deleted {text}")
    assert [row.stream_name for row in Notification.objects.all()] == ["broadcast"]
    assert run("prune_notifications").startswith("Deleted 0 published notifications, 0 withdrawn")


def test_prune_uses_keep_days_unless_days_is_given() -> None:
    fill("broadcast", 1)
    Notification.objects.update(published_at=timezone.now() - timedelta(days=10))
    run("prune_notifications")
    assert Notification.objects.exists()
    with override_settings(NOTIFICATIONS={"KEEP_DAYS": 11}):
        run("prune_notifications")
    assert Notification.objects.exists()
    run("prune_notifications", "--days", "10.5")
    assert Notification.objects.exists()
    with override_settings(NOTIFICATIONS={"KEEP_DAYS": 9}):
        run("prune_notifications")
    assert not Notification.objects.exists()


@pytest.mark.parametrize("days", ["-1", "many", "nan", "inf", "1e9"])
def test_prune_refuses_invalid_days(days: str) -> None:
    fill("broadcast", 1)
    with pytest.raises(CommandError, match="--days"):
        run("prune_notifications", f"--days={days}")
    assert Notification.objects.exists()


class TestRenewEpochs:
    def test_p8_all_streams_get_a_new_epoch_and_the_database_is_accepted(self) -> None:
        make_user()
        old = fill("broadcast", 9)
        Stream.objects.filter(pk=old.pk).update(top=4)
        Subscription.objects.filter(stream=old).update(delivered=12)
        incarnation.suspect()
        said = "the epochs of 3 streams, {} 1 tops, {} back the positions in 1 subscriptions."
        would = "Would renew " + said.format("would repair", "would move")
        assert run("renew_epochs", "--dry-run") == would
        assert Stream.objects.get(pk=old.pk).epoch == old.epoch
        assert incarnation.check() is not None
        assert run("renew_epochs") == "Renewed " + said.format("repaired", "moved")
        stream = Stream.objects.get(pk=old.pk)
        assert stream.epoch != old.epoch
        assert (stream.top, Subscription.objects.get(stream=old).delivered) == (9, 9)
        assert incarnation.check() is None

    def test_renewing_twice_has_the_same_result(self) -> None:
        fill("broadcast", 3)
        assert run("renew_epochs", "--all") == run("renew_epochs", "--all")

    def test_since_renews_only_streams_with_later_publications(self) -> None:
        old = fill("broadcast", 3)
        assert run("renew_epochs", "--since", "2026-01-01T00:00").startswith(
            "Renewed the epochs of 0 streams"
        )
        Stream.objects.filter(pk=old.pk).update(published_at=LONG_AGO)
        assert run("renew_epochs", "--since", "2019-01-01T00:00+01:00").startswith(
            "Renewed the epochs of 1 streams"
        )
        assert Stream.objects.get(pk=old.pk).epoch != old.epoch

    def test_nothing_lost_accepts_the_database_and_renews_nothing(self) -> None:
        old = fill("broadcast", 3)
        incarnation.suspect()
        run("renew_epochs", "--nothing-lost", "--dry-run")
        assert incarnation.check() is not None
        assert run("renew_epochs", "--nothing-lost") == "This database is accepted."
        assert incarnation.check() is None
        assert Stream.objects.get(pk=old.pk).epoch == old.epoch

    @pytest.mark.parametrize(
        "arguments", [["--since", "yesterday"], ["--since", ""], ["--all", "--nothing-lost"]]
    )
    def test_invalid_arguments_are_refused(self, arguments: list[str]) -> None:
        assert fails("renew_epochs", *arguments)

    def test_the_suspicion_remains_if_streams_are_locked(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        incarnation.suspect()
        monkeypatch.setattr(
            "notifications.management.commands.renew_epochs.renew_all",
            lambda since: [Renewed(streams=2), Renewed(locked=1)],
        )
        with pytest.raises(CommandError, match="1 streams are locked"):
            run("renew_epochs")
        assert incarnation.check() is not None

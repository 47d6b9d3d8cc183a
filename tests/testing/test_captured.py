"""What counts as sent, and what the assertions say."""

import unittest
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TestCase, TransactionTestCase
from django.utils import timezone
from django.utils.translation import gettext_lazy

from notifications import anotify, broadcast, inbox, notify, signals
from notifications.database.transactions import after_commit
from notifications.models import Notification
from notifications.publishing.notify import publish
from notifications.signals import push
from notifications.testing import NotificationsMixin, captured_notifications
from notifications.testing.captured import Captured
from tests.rooms import make_user, rolled_back


def titles(sent: Captured) -> list[str]:
    return [notification.title for notification in sent]


class Fates:
    """What is the same in both kinds of test cases."""

    def test_what_is_sent_outside_of_a_transaction_counts_at_once(self) -> None:
        user = make_user()
        with captured_notifications() as sent:
            notify(user, "one", level="success", data={"order": 7})
            broadcast("two", to="staff")
            push.send(None, to="everyone", title="three")
            publish("topic:news", "four")
            assert titles(sent) == ["one", "two", "three", "four"]
        assert [row.stream_name for row in sent] == [
            f"user:{user.pk}",
            "staff",
            "broadcast",
            "topic:news",
        ]
        assert sent[0].level == "success"
        assert sent[0].data == {"order": 7}

    def test_nothing_counts_while_its_transaction_is_open(self) -> None:
        user = make_user()
        with captured_notifications() as sent:
            with transaction.atomic():
                with transaction.atomic():
                    notify(user, "later")
                assert titles(sent) == []
                with pytest.raises(AssertionError, match="still open"):
                    sent.assert_notified(user, "later")
            assert titles(sent) == ["later"]

    def test_what_is_rolled_back_does_not_count(self) -> None:
        user = make_user()
        with captured_notifications() as sent:
            with rolled_back():
                notify(user, "never")
            with pytest.raises(AssertionError, match=r"rolled back:\n  .*title='never'"):
                sent.assert_notified(user, "never")
            sent.assert_nothing_sent()

    def test_a_block_within_a_transaction_is_rolled_back_by_itself(self) -> None:
        user = make_user()
        with captured_notifications() as sent, transaction.atomic():
            notify(user, "before")
            with rolled_back():
                notify(user, "within")
                with transaction.atomic():
                    notify(user, "deeper")
            notify(user, "after")
        assert titles(sent) == ["before", "after"]

    def test_a_transaction_that_is_marked_for_rollback_does_not_count(self) -> None:
        user = make_user()
        with captured_notifications() as sent:
            with transaction.atomic():
                notify(user, "never")
                transaction.set_rollback(True)
            sent.assert_nothing_sent()

    def test_a_savepoint_that_is_rolled_back_by_hand_does_not_count(self) -> None:
        user = make_user()
        with captured_notifications() as sent, transaction.atomic():
            savepoint = connection.savepoint()
            assert savepoint
            notify(user, "never")
            connection.savepoint_rollback(savepoint)
        sent.assert_nothing_sent()

    def test_calls_of_a_decorated_function_are_separate_transactions(self) -> None:
        user = make_user()

        @transaction.atomic
        def ship(title: str, *, fails: bool = False) -> list[str]:
            seen = titles(sent)
            notify(user, title)
            if fails:
                raise DatabaseError
            return seen

        with captured_notifications() as sent:
            assert ship("one") == []
            assert ship("two") == ["one"]
            with pytest.raises(DatabaseError):
                ship("never", fails=True)
            assert titles(sent) == ["one", "two"]

    def test_a_key_sends_once(self) -> None:
        user, other = make_user(), make_user("other")
        with captured_notifications() as sent:
            for _ in range(2):
                notify([user, other], "once", key="k")
            with rolled_back():
                notify(user, "never", key="l")
            notify(user, "again", key="l")
        sent.assert_notified(user, "once", count=1)
        assert len(sent) == 3
        assert sent[-1].title == "again"

    def test_a_host_whose_own_callback_fails_has_sent_it(self) -> None:
        user = make_user()

        def fail() -> None:
            raise OSError

        with captured_notifications() as sent:
            try:
                with transaction.atomic():
                    transaction.on_commit(fail)
                    notify(user, "sent")
            except OSError:
                pass
            sent.assert_notified(user, "sent")

    def test_what_is_published_is_in_the_inbox(self) -> None:
        user = make_user()
        published: list[str] = []

        def note(notification: Notification, **kwargs: object) -> None:
            published.append(notification.title)

        signals.published.connect(note)
        try:
            with captured_notifications(publish=True) as sent:
                notify(user, "one")
                assert inbox.unread_count(user) == 1
                with transaction.atomic():
                    notify(user, "two")
                    assert inbox.unread_count(user) == 1
                    assert published == ["one"]
                with rolled_back():
                    notify(user, "never")
                assert inbox.unread_count(user) == 2
                inbox.mark_read(user, [sent[0].pk])
                assert inbox.unread_count(user) == 1
        finally:
            signals.published.disconnect(note)
        assert published == titles(sent) == ["one", "two"]
        offsets = Notification.objects.order_by("pk").values_list("offset", flat=True)
        assert list(offsets) == [1, 2]


class TestFatesInTestCase(Fates, TestCase):
    def test_a_block_without_savepoint_that_fails_does_not_count(self) -> None:
        user = make_user()
        with captured_notifications() as sent:
            notify(user, "before")
            with suppress(OSError), transaction.atomic(savepoint=False):
                notify(user, "never")
                raise OSError
            assert titles(sent) == ["before"]

    def test_callbacks_that_a_test_captures_are_those_of_the_app(self) -> None:
        user = make_user()
        with captured_notifications() as sent, self.captureOnCommitCallbacks(execute=True) as calls:
            notify(user, "sent")
        assert len(calls) == 1
        assert inbox.unread_count(user) == 1
        assert titles(sent) == ["sent"]

    def test_what_is_published_is_not_done_again_by_callbacks_that_a_test_captures(self) -> None:
        user, progress = make_user(), list[int]()
        with captured_notifications(publish=True), self.captureOnCommitCallbacks(execute=True):
            notify(user, "sent", progress=progress.append)
        assert progress == [1]
        assert inbox.unread_count(user) == 1

    def test_callbacks_run_in_order_each_before_the_next(self) -> None:
        calls: list[str] = []

        def first() -> None:
            with transaction.atomic():
                after_commit("default", calls.append, "third")
            calls.append("first")

        with captured_notifications(publish=True):
            with transaction.atomic():
                after_commit("default", first)
                after_commit("default", calls.append, "second")
                assert calls == []
            assert calls == ["first", "second", "third"]
            after_commit("default", calls.append, "without a transaction")
        assert calls[3:] == ["without a transaction"]

    def test_a_callback_that_fails_does_not_stop_the_next(self) -> None:
        def fail() -> None:
            raise OSError("broken")

        with captured_notifications(publish=True), self.assertLogs("notifications.testing") as logs:
            after_commit("default", fail)
            notify(make_user(), "sent")
        assert "broken" in logs.output[0]
        assert Notification.objects.get().offset == 1

    def test_without_publishing_nothing_has_an_offset(self) -> None:
        user = make_user()
        with captured_notifications():
            notify(user, "waiting")
        assert inbox.unread_count(user) == 0

    def test_callbacks_of_other_apps_are_left_alone(self) -> None:
        calls: list[str] = []
        with captured_notifications(publish=True):
            with transaction.atomic():
                transaction.on_commit(lambda: calls.append("host"))
            broadcast("sent")
        assert calls == []


class TestFatesInTransactionTestCase(Fates, TransactionTestCase):
    pass


class TestSentBeforeTheTest(NotificationsMixin, TestCase):
    user: Any
    """Each test publishes anew what was sent for all of them."""

    publish_notifications = True

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = make_user()
        notify(cls.user, "old")

    def _check(self) -> None:
        self.assertNothingSent()
        assert inbox.unread_count(self.user) == 1
        notify(self.user, "new")
        assert inbox.unread_count(self.user) == 2

    def test_one(self) -> None:
        self._check()

    def test_another(self) -> None:
        self._check()


class TestMixin(NotificationsMixin, TestCase):
    def setUp(self) -> None:  # it does not call its parent's
        self.user = make_user("ada")
        notify(self.user, "from setUp")

    def test_everything_of_a_test_is_captured(self) -> None:
        self.assertNotified(self.user, "from setUp")
        self.assertNotNotified(self.user, "other")
        self.assertNotNotified("everyone")
        with pytest.raises(AssertionError, match="Something was sent"):
            self.assertNothingSent()

    async def test_asynchronous_tests_need_no_query(self) -> None:
        await anotify(self.user, "from async", body="text")
        self.assertNotified(self.user, title="from async", body="text")
        assert len(self.notifications) == 2

    async def test_inboxes_work_in_asynchronous_tests(self) -> None:
        with captured_notifications(publish=True):
            await anotify(self.user, "from async")
            assert await sync_to_async(inbox.unread_count)(self.user) == 2


class TestAssertions(NotificationsMixin, TestCase):
    user: Any
    other: Any
    group: Group

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user, cls.other = make_user("ada"), make_user("bob")
        cls.group = Group.objects.create(name="crew")

    def test_every_field_is_compared_as_it_is_stored(self) -> None:
        moment = timezone.now() + timedelta(days=1)
        notify(
            self.user,
            "two\nlines",
            body=gettext_lazy("Monday"),
            kind="order.shipped",
            url="/orders/7/",
            actor=self.other,
            data={"when": moment},
            key="k",
            publish_at=moment,
        )
        found = self.assertNotified(
            self.user,
            "two\nlines",
            count=1,
            body="Monday",
            kind="order.shipped",
            url="/orders/7/",
            level="info",
            actor=self.other,
            data={"when": moment},
            key="k",
            publish_at=moment,
            expires_at=None,
        )
        assert found.title == "two lines"
        self.assertNotified(self.user, ANY, data=ANY)

    def test_audiences(self) -> None:
        broadcast("a", to=self.group)
        broadcast("b", to="everyone")
        broadcast("c", to="topic:news")
        self.assertNotified(self.group, "a")
        self.assertNotified(f"group:{self.group.pk}", "a")
        self.assertNotified("everyone", "b", kind="broadcast")
        self.assertNotified("topic:news")
        self.assertNotNotified("staff")
        assert len(self.notifications.to(self.group)) == 1

    def test_a_failure_says_what_was_sent_instead(self) -> None:
        notify([self.user, self.other], "Shipped", level="warning", url="/orders/7/")
        broadcast("Hello")
        with pytest.raises(AssertionError) as caught:
            self.assertNotified(self.user, "Shipped", level="success")
        ada, bob = f"user:{self.user.pk}", f"user:{self.other.pk}"
        fields = "title='Shipped', url='/orders/7/', level='warning'"
        assert str(caught.value).splitlines() == [
            f"{ada} (ada) was not notified with title='Shipped', level='success'.",
            "Sent:",
            f"  {ada}: {fields}   ← level='warning'",
            f"  {bob}: {fields}   ← level='warning'",
            "  broadcast: title='Hello'   ← level='info'",
        ]

    def test_a_failure_says_how_often_it_was_sent(self) -> None:
        for _ in range(30):
            notify(self.user, "Shipped")
        with pytest.raises(AssertionError, match=r"30 times instead of 1.*\n(.*\n)*.*10 more"):
            self.assertNotified(self.user, count=1)

    def test_a_failure_says_that_nothing_was_sent(self) -> None:
        with pytest.raises(AssertionError, match=r"was not notified\.\nNothing was sent\."):
            self.assertNotified(self.user)

    def test_mistakes_in_assertions_are_told(self) -> None:
        notify(self.user, "Shipped")
        with pytest.raises(TypeError, match="levle"):
            self.assertNotNotified(self.user, levle="info")  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="no audience 'evreyone'"):
            self.assertNotNotified("evreyone")
        with pytest.raises(ValueError, match="neither a user nor an audience"):
            self.assertNotNotified(7)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not saved"):
            self.assertNotNotified(Group(name="new"))
        with pytest.raises(ValueError, match="at least 1"):
            self.assertNotified(self.user, count=0)


class Ends(NotificationsMixin, TestCase):
    __test__ = False

    def test_sending(self) -> None:
        broadcast("sent")


@pytest.mark.django_db(transaction=True)
def test_the_list_outlives_the_transaction_of_the_test_case() -> None:
    case, result = Ends("test_sending"), unittest.TestResult()
    unittest.TestSuite([case]).run(result)
    assert result.testsRun == 1
    assert result.wasSuccessful()
    assert not Notification.objects.exists()
    case.assertNotified("everyone", "sent")


def test_captures_may_overlap(db: None) -> None:
    user = make_user()
    first, second = captured_notifications(publish=True), captured_notifications(publish=True)
    one, two = first.__enter__(), second.__enter__()
    notify(user, "both")
    first.__exit__(None, None, None)
    notify(user, "second")
    assert inbox.unread_count(user) == 2
    second.__exit__(None, None, None)
    assert titles(one) == ["both"]
    assert titles(two) == ["both", "second"]
    notify(user, "none")
    assert inbox.unread_count(user) == 2
    assert BaseDatabaseWrapper.on_commit.__name__ == "on_commit"

"""Assertions for the test cases of :mod:`unittest` and Django."""

from __future__ import annotations

from typing import ClassVar, Unpack
from unittest import TestCase, TestResult

from ..models import Notification
from ..options import Options, Text
from .captured import Captured, captured_notifications
from .matching import To


class NotificationsMixin(TestCase):
    """Captures what each test sends, ``setUp`` included.

    >>> class OrderTests(NotificationsMixin, TestCase):
    ...     def test_shipping(self):
    ...         ship(self.order)
    ...         self.assertNotified(self.order.user, title="Your order has shipped")
    """

    #: See :func:`~notifications.testing.captured_notifications`.
    publish_notifications: ClassVar[bool] = False

    #: What the test has sent so far.
    notifications: Captured

    def run(self, result: TestResult | None = None) -> TestResult | None:
        # Not in setUp, where a host may forget to call that of its parent.
        with captured_notifications(publish=self.publish_notifications) as self.notifications:
            return super().run(result)

    def debug(self) -> None:
        with captured_notifications(publish=self.publish_notifications) as self.notifications:
            super().debug()

    def assertNotified(  # noqa: N802 - as unittest names assertions
        self,
        to: To,
        title: Text | None = None,
        *,
        count: int | None = None,
        **fields: Unpack[Options],
    ) -> Notification:
        """See :meth:`Captured.assert_notified`."""
        return self.notifications.assert_notified(to, title, count=count, **fields)

    def assertNotNotified(  # noqa: N802
        self, to: To, title: Text | None = None, **fields: Unpack[Options]
    ) -> None:
        """See :meth:`Captured.assert_not_notified`."""
        self.notifications.assert_not_notified(to, title, **fields)

    def assertNothingSent(self) -> None:  # noqa: N802
        """See :meth:`Captured.assert_nothing_sent`."""
        self.notifications.assert_nothing_sent()

"""Capturing what is sent: by :func:`~notifications.notify`, a signal, the admin or a client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Unpack, overload

from django.db import connections

from ..database.transactions import AfterCommit
from ..models import Notification, database_alias
from ..options import Options, Text
from ..publishing.drafts import check_names
from ..publishing.writing import FIELDS, rows_written
from .commits import Fate, Transaction, catch_up, committing, watching
from .matching import To, describe, describe_fields, describe_to, differences, stream_of

#: Notifications in a message.
MOST_LISTED = 20


class _Call(NamedTuple):
    """What one call has written, and the transaction that it belongs to."""

    notifications: list[Notification]
    transaction: Transaction


class Captured(Sequence[Notification]):
    """What was sent while capturing, in the order of the calls.

    It has one :class:`~notifications.models.Notification` for each recipient, or audience, with the
    values that were given. ``stream_name`` says to whom it was sent: ``"user:7"``, ``"broadcast"``.
    Reading it runs no query, so it can be used in asynchronous tests.

    What was rolled back was not sent. What was written in a transaction that is still open is not
    sent yet. Repeated calls with one ``key`` send one notification. Scheduled notifications are
    included, with their ``publish_at``.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._final: dict[Fate, list[Notification]] | None = None

    @overload
    def __getitem__(self, index: int) -> Notification: ...
    @overload
    def __getitem__(self, index: slice) -> list[Notification]: ...
    def __getitem__(self, index: int | slice) -> Notification | list[Notification]:
        return self._with(Fate.COMMITTED)[index]

    def __len__(self) -> int:
        return len(self._with(Fate.COMMITTED))

    def __repr__(self) -> str:
        return f"<Captured: {[describe(notification) for notification in self]}>"

    def to(self, to: To) -> list[Notification]:
        """What was sent to a user, or to an audience such as ``"everyone"`` or a group."""
        name = stream_of(to)
        return [notification for notification in self if notification.stream_name == name]

    def assert_notified(
        self,
        to: To,
        title: Text | None = None,
        *,
        count: int | None = None,
        **fields: Unpack[Options],
    ) -> Notification:
        """Fail unless a notification was sent to ``to`` that has this title and these fields.

        Args:
            to: a user, or the audience of a broadcast: ``"everyone"``, ``"staff"``,
                ``"topic:<slug>"`` or a group.
            title: as given to :func:`notifications.notify`, and so the other fields.
            count: exactly so many were sent, at least 1; by default one or more.

        Returns:
            The first one.

        Raises:
            AssertionError: says what was sent instead.
        """
        expected = _expected("assert_notified", title, fields)
        if count is not None and count < 1:
            raise ValueError("count must be at least 1; there is assert_not_notified()")
        found = self._found(to, expected)
        if not found:
            raise AssertionError(self._message(_was(to, "was not notified", expected), expected))
        if count is not None and len(found) != count:
            times = f"was notified {len(found)} times instead of {count}"
            raise AssertionError(self._message(_was(to, times, expected), expected))
        return found[0]

    def assert_not_notified(
        self, to: To, title: Text | None = None, **fields: Unpack[Options]
    ) -> None:
        """Fail if a notification was sent to ``to`` that has this title and these fields."""
        expected = _expected("assert_not_notified", title, fields)
        if self._found(to, expected):
            raise AssertionError(self._message(_was(to, "was notified", expected), {}))

    def assert_nothing_sent(self) -> None:
        """Fail if anything was sent to anybody."""
        if self:
            raise AssertionError(self._message("Something was sent", {}))

    def _found(self, to: To, expected: Mapping[str, Any]) -> list[Notification]:
        return [row for row in self.to(to) if not differences(row, expected)]

    def _with(self, fate: Fate) -> list[Notification]:
        if self._final is not None:
            return self._final.get(fate, [])
        calls = [call for call in self._calls if call.transaction.fate is fate]
        return [notification for call in calls for notification in call.notifications]

    def _take(
        self, draft: Notification, ids: dict[str, int], callback: AfterCommit, **kwargs: Any
    ) -> None:
        rows = [_copy(draft, name, pk) for name, pk in ids.items()]
        if rows:
            transaction = Transaction(connections[database_alias()], callback)
            self._calls.append(_Call(rows, transaction))

    def _end(self) -> None:
        """Keep what is known now: a test case that ends rolls everything back."""
        self._final = {fate: self._with(fate) for fate in Fate}
        self._calls.clear()

    def _message(self, claim: str, expected: Mapping[str, Any]) -> str:
        parts = [
            ("Sent:" if self else "Nothing was sent.", Fate.COMMITTED),
            ("Not sent, because it was rolled back:", Fate.ROLLED_BACK),
            ("Not sent yet, because the transaction is still open:", Fate.OPEN),
        ]
        lines = [f"{claim}."]
        for heading, fate in parts:
            rows = self._with(fate)
            if rows or fate is Fate.COMMITTED:
                lines.append(heading)
            lines += [f"  {_compared(row, expected)}" for row in rows[:MOST_LISTED]]
            if len(rows) > MOST_LISTED:
                lines.append(f"  … and {len(rows) - MOST_LISTED} more")
        return "\n".join(lines)


@contextmanager
def captured_notifications(*, publish: bool = False) -> Iterator[Captured]:
    """Capture what is sent in the block, by any thread of this process.

    Everything goes its usual way besides. In Django's ``TestCase`` nothing is committed, so what is
    sent stays waiting: no inbox has it, and it is not counted as unread.

    Args:
        publish: within a ``TestCase``, publish as soon as the outermost ``atomic`` block of the
            tested code has ended, as a commit would. Inboxes, unread counts and the signal
            ``published`` work then. Elsewhere this makes no difference.
    """
    captured = Captured()
    with watching(), ExitStack() as stack:
        if publish:
            stack.enter_context(committing())
            if not _is_in_event_loop():
                catch_up()
        rows_written.connect(captured._take, weak=False)
        try:
            yield captured
        finally:
            rows_written.disconnect(captured._take)
            captured._end()


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _copy(draft: Notification, name: str, pk: int) -> Notification:
    fields = {field.name: getattr(draft, field.name) for field in FIELDS}
    return Notification(pk=pk, channel=name, **fields)


def _expected(function: str, title: Text | None, fields: Options) -> dict[str, Any]:
    check_names(function, fields)
    return {**({} if title is None else {"title": title}), **fields}


def _was(to: To, claim: str, expected: Mapping[str, Any]) -> str:
    words = f" with {describe_fields(expected)}" if expected else ""
    return f"{describe_to(to)} {claim}{words}"


def _compared(notification: Notification, expected: Mapping[str, Any]) -> str:
    others = [name for name in differences(notification, expected) if name != "title"]
    actual = {name: getattr(notification, name) for name in others}
    return describe(notification) + (f"   ← {describe_fields(actual)}" if actual else "")

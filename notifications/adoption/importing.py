"""The import, recipient by recipient: it may be killed at any moment, and run again.

A recipient's notifications are imported together, in one transaction with the mark that says so.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import OperationalError, connections, router, transaction

from ..conf import app_settings
from ..database.clock import read_clock
from ..database.locks import limit_waiting, was_locked
from ..models import Notification, Stream, Subscription
from ..streams import names as stream_names
from ..streams import rows as stream_rows
from ..streams.acknowledging import stop_acknowledging
from ..streams.feeds import subscription_from
from . import mark as marks
from .conversion import convert, references
from .history import Beginning, Entry, Rewriting, insert
from .mark import Mark
from .old_rows import ROWS, OldRow, OldRows, State
from .reports import Report
from .things import find_things
from .traces import OLD_TABLE

#: Seconds to wait for a lock that somebody holds, and how often, and after how many seconds, what
#: could not be locked is tried again.
PATIENCE = 5.0
ROUNDS = 10
PAUSE = 1.0

#: Characters of ``Notification.key``; a host's table may have any primary key.
KEY_LENGTH = 200


class Choice(NamedTuple):
    """What is imported.

    Args:
        unread_only: nothing that was read.
        since: nothing older; None for everything.
    """

    unread_only: bool = False
    since: datetime | None = None

    def takes(self, state: State | OldRow) -> bool:
        if state.deleted or (self.unread_only and not state.unread):
            return False
        return self.since is None or state.timestamp >= self.since

    def as_json(self) -> dict[str, Any]:
        return {
            "unread_only": self.unread_only,
            "since": None if self.since is None else self.since.astimezone(UTC).isoformat(),
        }


class OtherChoice(ValueError):
    """The import was begun with other options."""


class _UserGone(Exception):
    """A recipient was deleted while the transaction began."""


Progress = Callable[[Report], None]


class Import:
    """Imports the notifications in a table of theirs.

    Args:
        alias: of the database.
        table: theirs.
        choice: what is imported.
        size: notifications in one transaction; a recipient with more has one of their own.
    """

    def __init__(self, alias: str, table: str, choice: Choice, size: int) -> None:
        self._alias = alias
        self._connection = connections[alias]
        self._rows = OldRows(alias, table)
        #: What the keys of imported notifications begin with.
        self._source = "django-notifications" if table == OLD_TABLE else table
        self._choice = choice
        #: What all runs of one import have in common.
        self._begun_with = {**choice.as_json(), "table": table}
        self._size = size

    def count(self) -> int:
        """How many notifications there are, whatever becomes of them."""
        return self._rows.count()

    def run(self, progress: Progress) -> Report:
        """Import what has not been imported yet.

        Args:
            progress: called after each transaction with what has been done so far.

        Returns:
            What has been imported, by this run and those before.

        Raises:
            OtherChoice: those before chose something else.
            DatabaseError: the database fails; what was done stays.
        """
        while True:
            mark = marks.read(self._connection)
            has_begun = mark.last or mark.is_done
            if has_begun and mark.choice != self._begun_with:
                raise OtherChoice
            if mark.is_done:
                return mark.report
            self._patiently(mark)
            progress(mark.report)

    def rehearse(self, progress: Progress) -> Report:
        """Find out what :meth:`run` would do, without writing anything."""
        total, last = Report(), ""
        while recipients := self._rows.recipients(last, self._size):
            states = self._states(recipients, total)
            for _ in self._converted(states, total):
                pass
            last = str(recipients[-1])
            progress(total)
        total.orphaned += self._rows.count_of_nobody()
        progress(total)
        return total

    def _patiently(self, mark: Mark) -> None:
        """Do the next part; somebody's lock may hold it up for a while."""
        recipients = self._rows.recipients(mark.last, self._size)
        for rounds_left in reversed(range(ROUNDS)):
            try:
                self._do(mark, recipients)
            except (OperationalError, _UserGone) as error:
                if not rounds_left or not _is_passing(error):
                    raise
                time.sleep(PAUSE)
            else:
                return

    def _do(self, mark: Mark, recipients: Sequence[Any]) -> None:
        """Import the notifications of these recipients, unless somebody else just has."""
        # Outside of the transaction, because others need the same streams.
        known = self._existing(recipients)
        stream_rows.ensure(stream_names.user_stream(pk) for pk in known)
        with transaction.atomic(using=self._alias, durable=True):
            limit_waiting(self._alias, PATIENCE)
            if marks.read(self._connection, lock=True).last != mark.last:
                return
            report = Report()
            report.add(mark.report)
            if recipients:
                self._rows.freeze()
                self._import(recipients, known, report)
            else:
                report.orphaned += self._rows.count_of_nobody()
            last = str(recipients[-1]) if recipients else mark.last
            new = Mark(self._begun_with, last, report, is_done=not recipients)
            marks.write(self._connection, new)
        mark.report = report

    def _import(self, recipients: Sequence[Any], known: Sequence[Any], report: Report) -> None:
        states = self._states(recipients, report, known)
        if not states:
            return
        # Clients that acknowledge now would do it by offsets that move.
        stop_acknowledging(self._alias)
        now = read_clock(self._alias)
        subscriptions, streams = self._lock(list(states))
        if not states.keys() == subscriptions.keys() == streams.keys():
            raise _UserGone
        rewriting = Rewriting(self._alias, now)
        beginnings = {}
        for pk, theirs in states.items():
            stamps = [state.timestamp for state in theirs]
            unread = [state.unread for state in theirs]
            place = rewriting.make_room(streams[pk], subscriptions[pk], stamps, unread)
            beginnings[pk] = place
        entries = self._entries(states, beginnings, streams, report)
        insert(self._alias, entries, now, ROWS)
        rewriting.store()

    def _existing(self, recipients: Sequence[Any]) -> list[Any]:
        model = get_user_model()
        # A replica may lack some of them yet, whose notifications would be left out for good.
        users = model._base_manager.using(router.db_for_write(model)).filter(pk__in=recipients)
        found = set(users.values_list("pk", flat=True))
        return [pk for pk in recipients if pk in found]

    def _states(
        self, recipients: Sequence[Any], report: Report, known: Sequence[Any] | None = None
    ) -> dict[Any, list[State]]:
        """The chosen notifications of each recipient; the others are counted."""
        there = set(self._existing(recipients) if known is None else known)
        found: dict[Any, list[State]] = {}
        limit = read_clock(self._alias) - timedelta(days=app_settings.KEEP_DAYS)
        for recipient, states in groupby(self._rows.states(recipients), attrgetter("recipient")):
            theirs = list(states)
            if recipient not in there:
                report.orphaned += len(theirs)
                continue
            chosen = [state for state in theirs if self._choice.takes(state)]
            deleted = sum(state.deleted for state in theirs)
            report.deleted += deleted
            report.not_chosen += len(theirs) - deleted - len(chosen)
            if chosen:
                found[recipient] = chosen
            report.unread += sum(state.unread for state in chosen)
            report.read += sum(not state.unread for state in chosen)
            report.old += sum(state.timestamp < limit for state in chosen)
        report.recipients += len(found)
        return found

    def _converted(
        self, states: dict[Any, list[State]], report: Report
    ) -> Iterator[tuple[OldRow, Notification]]:
        """The notifications that ``states`` lists, in that order."""
        rows = (row for row in self._rows.rows(list(states)) if self._choice.takes(row))
        while batch := list(islice(rows, ROWS)):
            things = find_things(self._alias, references(batch))
            for row in batch:
                yield row, convert(row, things, report)

    def _lock(self, users: Sequence[Any]) -> tuple[dict[Any, Subscription], dict[Any, Stream]]:
        """The subscriptions and streams of these users, which nobody else changes now."""
        names = {stream_names.user_stream(pk): pk for pk in users}
        held = stream_rows.hold(list(names), wait=True)
        new = [subscription_from(names[name], stream.id, 0) for name, stream in held.items()]
        theirs = Subscription.objects.using(self._alias)
        theirs.bulk_create(new, batch_size=stream_rows.CHUNK, ignore_conflicts=True)
        ids = [stream.id for stream in held.values()]
        rows = theirs.filter(stream__in=ids, user__in=users).order_by("stream_id", "user_id")
        # Subscriptions before streams, as somebody locks them who deletes a user.
        subscriptions = {row.user_id: row for row in rows.select_for_update(of=("self",))}
        found = stream_rows.locked(Stream.objects.using(self._alias).filter(pk__in=ids))
        return subscriptions, {names[stream.name]: stream for stream in found}

    def _entries(
        self,
        states: dict[Any, list[State]],
        beginnings: dict[Any, Beginning],
        streams: dict[Any, Stream],
        report: Report,
    ) -> Iterator[Entry]:
        numbers = dict.fromkeys(states, 0)
        for row, notification in self._converted(states, report):
            number = numbers[row.recipient]
            numbers[row.recipient] += 1
            beginning = beginnings[row.recipient]
            notification.stream = streams[row.recipient]
            notification.offset = number + 1
            notification.key = self._key(row)
            moment = beginning.times[number]
            notification.created_at = notification.publish_at = moment
            notification.published_at = moment
            needs_receipt = beginning.receipts[number]
            yield Entry(notification, row.recipient, needs_receipt, row.unread)

    def _key(self, row: OldRow) -> str:
        key = f"{self._source}:{row.id}"
        if len(key) <= KEY_LENGTH:
            return key
        return f"{self._source}:{blake2b(str(row.id).encode(), digest_size=16).hexdigest()}"


def _is_passing(error: Exception) -> bool:
    """Is it worth another try: was something locked, or is a user gone who was there?"""
    is_locked = was_locked(error, or_deadlock=True) or "database is locked" in str(error)
    return isinstance(error, _UserGone) or is_locked

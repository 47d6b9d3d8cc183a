"""Helpers for the tests of rooms below the protocol: users, threads, hints and query plans."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from notifications import layer
from notifications.models import Notification, Receipt, Stream, Subscription
from notifications.streams import acknowledging
from notifications.streams.rows import ensure

T = TypeVar("T")

#: A time before anything that a test does.
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def make_user(name: str = "reader", **fields: Any) -> Any:
    """Create a user without a usable password."""
    return get_user_model().objects.create(username=name, **fields)


def make_old_users(count: int) -> list[Any]:
    """Create long-standing users in bulk, without signals."""
    users = get_user_model()
    return users.objects.bulk_create(
        [users(username=f"user{number}", date_joined=LONG_AGO) for number in range(count)]
    )


def write(name: str, **fields: Any) -> Notification:
    """Create a waiting notification, as left by a process that died right after its commit."""
    stream = ensure([name])[name]
    return Notification.objects.create(stream=stream, **{"title": "left behind", **fields})


def fill(name: str, count: int) -> Stream:
    """Return a stream with ``count`` published notifications."""
    stream = ensure([name])[name]
    Notification.objects.bulk_create(
        Notification(
            stream=stream,
            offset=offset,
            title=f"number {offset}",
            published_at=LONG_AGO + timedelta(seconds=offset),
        )
        for offset in range(1, count + 1)
    )
    stream.top = count
    stream.save()
    return stream


def offsets(name: str) -> list[int | None]:
    """The offsets of a stream's notifications in the order of writing; None for waiting ones."""
    rows = Notification.objects.filter(stream__name=name).order_by("pk")
    return list(rows.values_list("offset", flat=True))


def acknowledge(positions: Mapping[tuple[Any, int], int]) -> None:
    """Acknowledge offsets by user and stream, in the current epochs of the streams."""
    epochs = dict(Stream.objects.values_list("pk", "epoch"))
    acknowledging.acknowledge(
        {
            pair: acknowledging.Acknowledged(epochs.get(pair[1], ""), offset)
            for pair, offset in positions.items()
        }
    )


class Backup:
    """A copy of the app's tables, which :meth:`restore` writes back.

    It includes the epochs, so they do not reveal the restore.
    """

    MODELS = (Stream, Notification, Subscription, Receipt)

    def __init__(self) -> None:
        self._rows = {model: list(model._default_manager.all()) for model in self.MODELS}

    def restore(self) -> None:
        """Write all rows back in one transaction, as clients see a restore or a failover."""
        with transaction.atomic():
            for model in reversed(self.MODELS):
                model._default_manager.all().delete()
            for model in self.MODELS:
                model._default_manager.bulk_create(self._rows[model])


@contextmanager
def hints() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collect the hints instead of sending them to the channel layer: stream and message."""
    sent: list[tuple[str, dict[str, Any]]] = []
    original = layer.announcer.send
    layer.announcer.send = lambda stream, message: sent.append((stream, message))  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        layer.announcer.send = original  # type: ignore[method-assign]


class _Failure(Exception):
    pass


@contextmanager
def rolled_back() -> Iterator[None]:
    """Run the block in a transaction and roll it back at the end."""
    with suppress(_Failure), transaction.atomic():
        yield
        raise _Failure


def in_threads(count: int, function: Callable[[int], T]) -> list[T]:
    """Run ``function(0)`` … ``function(count - 1)`` at once, each in a thread with a connection.

    Raises:
        BaseException: the first exception that one of them raised.
    """
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = function(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return [results[number] for number in range(count)]


def queries(function: Callable[[], Any]) -> list[str]:
    """The SQL that ``function`` runs on this thread's connection, without transaction control."""
    with CaptureQueriesContext(connection) as captured:
        function()
    statements = [query["sql"] for query in captured.captured_queries]
    words = ("BEGIN", "COMMIT", "SET LOCAL", "SAVEPOINT", "RELEASE", "ROLLBACK")
    return [sql for sql in statements if not sql.startswith(words)]


def plans(function: Callable[[], Any], about: str = 'FROM "notifications_notification"') -> str:
    """Return the query plans of the SELECTs of notifications that ``function`` runs.

    Args:
        function: runs the SELECTs.
        about: text by which these SELECTs are recognised.
    """
    selects = [sql.strip() for sql in queries(function) if sql.strip().startswith("SELECT")]
    found = [sql for sql in selects if about in sql]
    assert found, "no such SELECT was run"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE")
            cursor.execute("SET enable_seqscan = off")  # the planner prefers it for so few rows
        lines = []
        for sql in found:
            cursor.execute(
                f"EXPLAIN {'' if connection.vendor == 'postgresql' else 'QUERY PLAN '}{sql}"
            )
            lines += [str(row[-1]) for row in cursor.fetchall()]
        if connection.vendor == "postgresql":
            cursor.execute("RESET enable_seqscan")
    return "\n".join(lines)


def reads_whole_table(plan: str) -> bool:
    """Return whether a plan scans all notifications."""
    bad = ("Seq Scan on notifications_notification", "SCAN notifications_notification", "SCAN U0")
    return any(line.strip(" ->").startswith(bad) for line in plan.splitlines())

"""The ORM from asynchronous code: lanes, their connections, and closing them."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from notifications.database import lanes
from notifications.database.lanes import LANES, PERMISSIONS, close_threads, in_database
from notifications.database.transactions import after_commit, update_rows
from notifications.models import Stream
from tests.peers import until
from tests.rooms import queries, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    close_threads()
    assert thread_names() == []


def thread_names() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("notifications-database")]


async def test_arguments_and_results_are_passed_through() -> None:
    stream = await in_database(Stream.objects.create, name="topic:a")
    assert await in_database(Stream.objects.filter(name="topic:a").count) == 1
    found = await in_database(Stream.objects.get, pk=stream.pk)
    assert found == stream


async def test_errors_are_passed_through_and_the_thread_goes_on() -> None:
    with pytest.raises(Stream.DoesNotExist):
        await in_database(Stream.objects.get, name="missing")
    assert await in_database(Stream.objects.filter(name="missing").count) == 0


async def test_calls_run_concurrently_in_the_configured_number_of_threads(settings: Any) -> None:
    settings.NOTIFICATIONS = {"DATABASE_THREADS": 3}
    barrier = threading.Barrier(3)
    await asyncio.gather(*(in_database(barrier.wait, 10) for _ in range(3)))
    assert len(thread_names()) == 3


async def test_a_slow_query_does_not_block_the_loop() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def query() -> bool:
        begun.set()
        return go_on.wait(60)

    slow = asyncio.create_task(in_database(query))
    await until(begun.is_set)  # so the loop runs
    assert not slow.done()
    go_on.set()
    assert await slow


async def test_a_connection_older_than_its_maximum_age_is_replaced(settings: Any) -> None:
    settings.NOTIFICATIONS = {"DATABASE_THREADS": 1}

    def opened() -> Any:
        connection.ensure_connection()
        return connection.connection

    def age() -> None:
        connection.close_at = time.monotonic() - 1

    first = await in_database(opened)
    assert await in_database(opened) is first
    await in_database(age)
    assert await in_database(opened) is not first


async def test_closed_threads_start_again() -> None:
    opened: list[Any] = []
    await in_database(lambda: opened.append(connections["default"]))
    await in_database(Stream.objects.count)
    await asyncio.get_running_loop().run_in_executor(None, close_threads)
    assert thread_names() == []
    assert all(wrapper.connection is None for wrapper in opened)
    assert await in_database(Stream.objects.filter(name="missing").count) == 0
    await asyncio.get_running_loop().run_in_executor(None, close_threads)
    await asyncio.get_running_loop().run_in_executor(None, close_threads)


def test_rows_are_updated_with_one_statement() -> None:
    rows = [Stream.objects.create(name=f"topic:{number}") for number in range(300)]
    changes = [(number, f"e{number}", row.pk) for number, row in enumerate(rows)]
    assert len(queries(lambda: update_rows("default", Stream, ["top", "epoch"], changes))) == 1
    changed = Stream.objects.filter(name__startswith="topic:").order_by("top")
    found = changed.values_list("name", "epoch", "revision")
    assert list(found) == [(f"topic:{number}", f"e{number}", 0) for number in range(300)]
    update_rows("default", Stream, ["top"], [])


def test_after_commit_runs_after_a_commit_and_not_after_a_rollback() -> None:
    done: list[str] = []
    after_commit("default", done.append, "at once")
    with transaction.atomic():
        after_commit("default", done.append, "committed")
        assert done == ["at once"]
    with rolled_back():
        after_commit("default", done.append, "never")
    assert done == ["at once", "committed"]


def test_an_error_after_a_commit_does_not_stop_other_callbacks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []

    def fail(number: int) -> None:
        raise RuntimeError("after the commit")

    with transaction.atomic():
        after_commit("default", fail, 1)
        after_commit("default", done.append, "second")
    after_commit("default", fail, 1)
    assert done == ["second"]
    assert caplog.text.count("Error calling") == 2
    assert "<locals>.fail in on_commit" in caplog.text


async def test_a_database_error_is_raised_to_the_caller() -> None:
    def fail() -> None:
        raise OperationalError("gone")

    with pytest.raises(OperationalError):
        await in_database(fail)


async def test_connections_of_lanes_have_a_lock_timeout(settings: Any) -> None:
    settings.NOTIFICATIONS = {"LOCK_TIMEOUT": 1.5}
    asked = "PRAGMA busy_timeout" if connection.vendor == "sqlite" else "SHOW lock_timeout"

    def timeout() -> object:
        with connection.cursor() as cursor:
            cursor.execute(asked)
            return cursor.fetchone()[0]

    told = {await lane.run(timeout) for lane in LANES}
    assert told == {1500 if connection.vendor == "sqlite" else "1500ms"}

    def timeout_elsewhere() -> object:
        try:
            return timeout()
        finally:  # here, because another call may get another thread
            connections.close_all()

    assert await asyncio.to_thread(timeout_elsewhere) not in told


async def test_a_stuck_lane_delays_no_other_lane() -> None:
    go_on = threading.Event()
    stuck = [asyncio.create_task(in_database(go_on.wait, 60)) for _ in range(20)]
    for lane in LANES[1:]:
        assert (
            await asyncio.wait_for(lane.run(Stream.objects.filter(name="missing").count), 60) == 0
        )
    assert not any(task.done() for task in stuck)
    go_on.set()
    await asyncio.gather(*stuck)


async def test_stuck_threads_are_left_running(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lanes, "CLOSE_TIMEOUT", 0.1)
    go_on = threading.Event()
    stuck = asyncio.create_task(PERMISSIONS.run(go_on.wait, 60))
    await in_database(Stream.objects.count)
    await asyncio.wait_for(asyncio.to_thread(close_threads), 30)
    assert [message for message in caplog.messages if "permissions" in message]
    assert await in_database(Stream.objects.filter(name="missing").count) == 0
    go_on.set()
    await stuck


def test_a_stuck_thread_does_not_keep_the_process_alive() -> None:
    code = """
        import threading
        from notifications.database import lanes
        lanes.CLOSE_TIMEOUT = 0.1
        lanes.COMMANDS.submit(threading.Event().wait)
    """
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    subprocess.run(command, env=environment, check=True, timeout=60)


def test_a_forked_child_has_threads_of_its_own_and_leaves_its_parents_connections_open() -> None:
    code = """
        import os, sys, django
        django.setup()
        from django.db import connection
        from notifications.database import lanes

        def answer():
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                return cursor.fetchone()[0], id(connection.connection)

        number, before = lanes.COMMANDS.submit(answer).result(30)
        pid = os.fork()
        if pid == 0:
            sys.exit(lanes.COMMANDS.submit(answer).result(30)[0] + 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(status, lanes.COMMANDS.submit(answer).result(30) == (number, before))
    """
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout.strip() == "2 True", result.stderr

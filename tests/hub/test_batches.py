"""The work of many connections is done in batches, and each gets its own result."""

import asyncio
import threading
import time

import pytest
from django.db import OperationalError

from notifications.database.lanes import CONNECTS
from notifications.hub import batches
from notifications.hub.batches import BATCH_SIZE, MAX_CALLS, Batcher
from tests.peers import until


def doubling(calls: list[list[int]]):
    def work(items: list[int]) -> list[int | Exception]:
        calls.append(items)
        return [ValueError(item) if item < 0 else item * 2 for item in items]

    return work


async def test_a_single_item_is_served_at_once() -> None:
    calls: list[list[int]] = []
    assert await Batcher(doubling(calls), CONNECTS)(4) == 8
    assert calls == [[4]]


async def test_items_at_the_same_time_share_a_call() -> None:
    calls: list[list[int]] = []
    batcher = Batcher(doubling(calls), CONNECTS)
    assert await asyncio.gather(*(batcher(n) for n in range(BATCH_SIZE + 5))) == [
        n * 2 for n in range(BATCH_SIZE + 5)
    ]
    assert [len(call) for call in calls] == [BATCH_SIZE, 5]


async def test_those_who_give_up_first_are_served_first_and_else_those_who_came_first() -> None:
    calls: list[list[int]] = []
    batcher = Batcher(doubling(calls), CONNECTS)
    now = time.monotonic()
    late = [batcher(n) for n in range(BATCH_SIZE)]
    hurried = [batcher(1000 + n, now - n) for n in range(3)]
    await asyncio.gather(*late, *hurried)
    assert calls == [[1002, 1001, 1000, *range(BATCH_SIZE - 3)], list(range(BATCH_SIZE))[-3:]]


async def test_an_exception_is_raised_only_to_its_own_caller() -> None:
    batcher: Batcher[int, int] = Batcher(doubling([]), CONNECTS)
    good, bad = await asyncio.gather(batcher(1), batcher(-1), return_exceptions=True)
    assert good == 2
    assert isinstance(bad, ValueError)


async def test_a_failed_call_fails_for_all_and_the_next_one_works() -> None:
    broken = True

    def work(items: list[int]) -> list[int | Exception]:
        if broken:
            raise OSError("the database is away")
        return list(items)

    batcher = Batcher(work, CONNECTS)
    results = await asyncio.gather(batcher(1), batcher(2), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    broken = False
    assert await batcher(3) == 3


async def test_a_cancelled_caller_does_not_delay_others() -> None:
    calls: list[list[int]] = []
    batcher = Batcher(doubling(calls), CONNECTS)
    leaving = asyncio.create_task(batcher(1))
    staying = asyncio.create_task(batcher(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 4
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_an_item_that_breaks_the_call_fails_alone() -> None:
    calls: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        calls.append(items)
        return [10 // item for item in items]

    batcher: Batcher[int, int] = Batcher(work, CONNECTS)
    five, bad, two = await asyncio.gather(
        batcher(2), batcher(0), batcher(5), return_exceptions=True
    )
    assert (five, two) == (5, 2)
    assert isinstance(bad, ZeroDivisionError)
    assert calls == [[2, 0, 5], [2], [0], [5]]


async def test_an_unavailable_database_is_not_queried_for_each_item() -> None:
    calls: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        calls.append(items)
        raise OperationalError

    batcher: Batcher[int, int] = Batcher(work, CONNECTS)
    results = await asyncio.gather(batcher(1), batcher(2), return_exceptions=True)
    assert [type(result) for result in results] == [OperationalError, OperationalError]
    assert calls == [[1, 2]]


async def test_a_stuck_call_delays_only_its_own_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SLOW_AFTER", 0.01)
    begun, go_on = threading.Event(), threading.Event()

    def work(items: list[str]) -> list[str]:
        if "stuck" in items:
            begun.set()
            assert go_on.wait(60)
        return items

    batcher: Batcher[str, str] = Batcher(work, CONNECTS)
    stuck = [asyncio.create_task(batcher(name)) for name in ("stuck", "beside it")]
    await until(begun.is_set)
    later = asyncio.create_task(batcher("later"))
    assert await asyncio.wait_for(later, 60) == "later"
    assert not any(task.done() for task in stuck)
    go_on.set()
    assert await asyncio.gather(*stuck) == ["stuck", "beside it"]


async def test_calls_in_progress_are_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "SLOW_AFTER", 0.01)
    go_on = threading.Event()
    begun: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        begun.append(items)
        assert go_on.wait(60)
        return items

    batcher: Batcher[int, int] = Batcher(work, CONNECTS)
    tasks = []
    for number in range(MAX_CALLS):
        tasks.append(asyncio.create_task(batcher(number)))
        await until(lambda: len(begun) == len(tasks))
    tasks += [asyncio.create_task(batcher(number)) for number in (10, 11)]
    await asyncio.sleep(0.05)  # longer than SLOW_AFTER
    assert begun == [[number] for number in range(MAX_CALLS)]
    go_on.set()
    assert await asyncio.gather(*tasks) == [*range(MAX_CALLS), 10, 11]
    assert begun[MAX_CALLS:] == [[10, 11]]

"""The commands of one user do not delay those of others (P9)."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from notifications import notify
from notifications.database.lanes import COMMANDS, Lane, in_database
from notifications.hub import Hub
from notifications.hub import turns as module
from notifications.hub.turns import MAX_WAITING_PER_USER, Turns
from notifications.protocol import codes
from notifications.protocol.codes import ClientError
from tests.peers import Peer, rest, running_hub, until
from tests.rooms import make_user


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("turns", 4)
    yield lane
    lane.close()


def nothing() -> None:
    return None


class Stuck:
    """A callable that blocks until ``end`` is set, like a slow command."""

    def __init__(self) -> None:
        self.running = 0
        self.end = threading.Event()

    def __call__(self) -> None:
        self.running += 1
        assert self.end.wait(60)


async def test_one_user_gets_at_most_half_of_the_threads(lane: Lane) -> None:
    turns, stuck = Turns(lane), Stuck()
    greedy = [asyncio.create_task(turns.run("greedy", stuck)) for _ in range(10)]
    await until(lambda: stuck.running == 2)
    await asyncio.wait_for(turns.run("modest", nothing), 60)
    assert stuck.running == 2
    stuck.end.set()
    await asyncio.gather(*greedy)


async def test_too_many_waiting_commands_get_a_temporary_error_at_once(lane: Lane) -> None:
    turns, stuck = Turns(lane), Stuck()
    greedy = [
        asyncio.create_task(turns.run("greedy", stuck)) for _ in range(2 + MAX_WAITING_PER_USER)
    ]
    await until(lambda: stuck.running == 2)
    with pytest.raises(ClientError) as raised:
        await turns.run("greedy", nothing)
    assert raised.value.error == codes.TOO_MANY_REQUESTS
    assert raised.value.error.temporary
    stuck.end.set()
    await asyncio.gather(*greedy)
    await turns.run("greedy", nothing)


async def test_waiting_users_are_served_in_turn(lane: Lane) -> None:
    lane = Lane("turns", 1)
    turns, stuck = Turns(lane), Stuck()
    order: list[str] = []
    first = asyncio.create_task(turns.run("first", stuck))
    await until(lambda: stuck.running == 1)
    waiting = [
        asyncio.create_task(turns.run(user, order.append, user))
        for user in ("a", "a", "a", "b", "c", "b")
    ]
    await rest()
    stuck.end.set()
    await asyncio.gather(first, *waiting)
    assert order == ["a", "b", "c", "a", "b", "a"]
    lane.close()


async def test_a_user_without_budget_waits_and_others_do_not(lane: Lane, settings: Any) -> None:
    settings.NOTIFICATIONS = {"USER_WORK": 1e-9}
    turns = Turns(lane)
    turns.charge("greedy", 100.0)
    late = asyncio.create_task(turns.run("greedy", nothing))
    await turns.run("modest", nothing)
    await rest()
    assert not late.done()
    with pytest.raises(ClientError):
        turns.charge("greedy", 0.01)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)


async def test_a_budget_refills(lane: Lane, settings: Any) -> None:
    settings.NOTIFICATIONS = {"USER_WORK": 1000.0}
    turns = Turns(lane)
    turns.charge("greedy", 3.0)
    await asyncio.wait_for(turns.run("greedy", nothing), 60)


async def test_a_command_that_waits_too_long_is_refused(
    lane: Lane, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAIT", 0.01)
    turns, stuck = Turns(lane), Stuck()
    greedy = [asyncio.create_task(turns.run("greedy", stuck)) for _ in range(2)]
    await until(lambda: stuck.running == 2)
    with pytest.raises(ClientError):
        await turns.run("greedy", nothing)
    stuck.end.set()
    await asyncio.gather(*greedy)
    await turns.run("greedy", nothing)


async def test_a_cancelled_command_leaves_its_turn_to_others(lane: Lane) -> None:
    turns, stuck = Turns(lane), Stuck()
    tasks = [
        asyncio.create_task(turns.run("greedy", stuck)) for _ in range(2 + MAX_WAITING_PER_USER)
    ]
    await until(lambda: stuck.running == 2)
    for task in tasks[2:]:
        task.cancel()
    await asyncio.gather(*tasks[2:], return_exceptions=True)
    stuck.end.set()
    await asyncio.gather(*tasks[:2])
    await asyncio.gather(*(turns.run("greedy", nothing) for _ in range(MAX_WAITING_PER_USER)))
    assert stuck.running == 2


async def test_idle_users_are_forgotten(lane: Lane, settings: Any) -> None:
    settings.NOTIFICATIONS = {"USER_WORK": 1e6}
    turns = Turns(lane)
    for number in range(50):
        await turns.run(number, nothing)
    await asyncio.sleep(0.001)  # their budgets are full again
    turns.forget_idle()
    assert not turns.budgets


# Over the wire


@pytest.mark.django_db(transaction=True)
async def test_a_flood_of_one_user_delays_no_connects_acks_or_commands_of_others(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy, modest = await in_database(lambda: (make_user("greedy"), make_user("modest")))
    stuck = Stuck()
    flood = [await Peer.of(greedy) for _ in range(MAX_WAITING_PER_USER + 5)]
    for peer in flood:
        await peer.connect()
    reader = await Peer.of(modest)
    await reader.connect()
    run = COMMANDS.run

    async def slow(function: Any, *args: Any, **kwargs: Any) -> Any:
        if greedy.pk in getattr(function, "args", ()):
            return await run(stuck)
        return await run(function, *args, **kwargs)

    monkeypatch.setattr(COMMANDS, "run", slow)
    asked = [peer.ask(rpc={"method": "inbox"}) for peer in flood]
    await until(lambda: stuck.running == 2)
    # Others connect, send commands and acknowledge while the flood makes no progress.
    late = await Peer.of(modest)
    await late.connect()
    assert (await reader.rpc("inbox"))["entries"] == []
    await in_database(notify, modest, "hello")
    await reader.wait_for("hello")
    await reader.rpc("ack", channel=f"user:{modest.pk}", offset=1)
    assert stuck.running == 2
    # The excess commands of the flood get an error.
    refused = [peer.replies.get(number) for peer, number in zip(flood, asked, strict=True)]
    assert [reply["error"]["code"] for reply in refused if reply] == [111] * 3
    stuck.end.set()
    monkeypatch.undo()
    for peer in [*flood, reader, late]:
        await peer.end()


@pytest.mark.django_db(transaction=True)
async def test_connects_are_charged_to_the_users_budget(settings: Any) -> None:
    async with running_hub(settings, USER_WORK=1e-9, USER_WORK_BURST=0.035):
        user = await in_database(make_user)
        codes_seen = []
        for _ in range(6):
            peer = await Peer.of(user)
            await peer.open()
            reply = await peer.try_connect()
            codes_seen.append(reply.get("error", {}).get("code"))
            await peer.end()
        assert codes_seen == [None, None, None, None, 111, 111]
        other = await in_database(make_user, "other")
        peer = await Peer.of(other)
        await peer.connect()
        await peer.end()


@pytest.mark.django_db(transaction=True)
async def test_commands_are_counted_across_all_connections_of_a_user(settings: Any) -> None:
    async with running_hub(settings, COMMAND_RATE=1e-9, COMMAND_BURST=6):
        user = await in_database(make_user)
        peers = [await Peer.of(user) for _ in range(2)]
        for peer in peers:
            await peer.connect()
        replies = [await peer.call(ping={}) for _ in range(4) for peer in peers]
        refused = [reply.get("error", {}).get("code") for reply in replies]
        assert refused == [None] * 6 + [111] * 2
        other = await Peer.of(await in_database(make_user, "other"))
        await other.connect()
        assert "error" not in await other.call(ping={})
        for peer in [*peers, other]:
            await peer.end()


async def test_a_user_whose_command_timed_out_is_served_much_later(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, stuck = Turns(lane), Stuck()
    turns.charge("unlucky", 0.0)
    others = [asyncio.create_task(turns.run(user, stuck)) for user in ("a", "a", "b", "b")]
    await until(lambda: stuck.running == 4)
    monkeypatch.setattr(module, "MAX_WAIT", 0.01)
    with pytest.raises(ClientError):
        await turns.run("unlucky", nothing)
    turns.forget_idle()
    assert "unlucky" not in turns.budgets
    monkeypatch.setattr(module, "MAX_WAIT", 60.0)
    again = asyncio.create_task(turns.run("unlucky", nothing))
    await rest()
    stuck.end.set()
    await asyncio.wait_for(asyncio.gather(again, *others), 10)


async def test_a_turn_lasts_as_long_as_its_thread_after_a_cancellation(lane: Lane) -> None:
    turns, stuck = Turns(lane), Stuck()
    gone = [asyncio.create_task(turns.run("greedy", stuck)) for _ in range(2)]
    await until(lambda: stuck.running == 2)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    more = asyncio.create_task(turns.run("greedy", nothing))
    await rest()
    assert not more.done()
    stuck.end.set()
    await asyncio.wait_for(more, 60)


async def test_a_very_long_command_locks_its_user_out_for_seconds_only(
    settings: Any, lane: Lane
) -> None:
    settings.NOTIFICATIONS = {"USER_WORK": 0.25, "USER_WORK_BURST": 2.0}
    turns = Turns(lane)
    turns.charge("patient", 3600.0)
    left = turns.budgets["patient"].work.left(asyncio.get_running_loop().time())
    assert -2.0 <= left <= -1.9

"""Whose command is carried out next: fair among users, bounded for each of them (P9).

A command of a client needs a database thread, and there are few. So each user has a *budget*, a
token bucket of seconds of CPU: commands cost what they take, from however many connections they
come. Who has used up his budget waits, and who has too much waiting is refused at once, with
an error that is temporary. Connects, acknowledgements and the hub's own work do not pass here.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from ..conf import app_settings
from ..database.lanes import COMMANDS, Lane
from ..protocol import codes
from ..protocol.bucket import Bucket
from ..protocol.codes import ClientError

P = ParamSpec("P")
T = TypeVar("T")

#: Commands of one user that may wait for a thread; one more is refused.
MOST_OF_ONE = 20

#: Commands of all users that may wait. Beyond it only those are taken whose user has none waiting.
MOST = 500

#: Nobody waits for longer than this; seconds.
PATIENCE = 8.0


class Budget:
    """What one user may still use, in CPU seconds, and what waits for it.

    Args:
        now: seconds of the loop's clock.
    """

    __slots__ = ("running", "waiting", "work")

    def __init__(self, now: float) -> None:
        self.work = Bucket(app_settings.USER_WORK, app_settings.USER_WORK_BURST, now)
        self.running = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    def is_idle(self, now: float) -> bool:
        return not self.running and not self.waiting and self.work.is_full(now)


class Turns:
    """Gives the threads of a lane to users in turn.

    Args:
        lane: of the threads. One user gets half of them at most.
    """

    def __init__(self, lane: Lane = COMMANDS) -> None:
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        #: By user, in the order in which they were last charged.
        self._budgets: OrderedDict[Any, Budget] = OrderedDict()
        #: Those for which something waits; the first was not served for the longest time.
        self._queue: dict[Any, Budget] = {}
        self._running = 0
        self._waiting = 0
        self._wake: asyncio.TimerHandle | None = None
        #: How many commands each user may send, kept by the sessions of his connections.
        self._commands: WeakValueDictionary[Any, Bucket] = WeakValueDictionary()

    def commands_of(self, user_id: Any) -> Bucket:
        """The bucket of commands that all connections of a user share, by the monotonic clock."""
        bucket = self._commands.get(user_id)
        if bucket is None:
            rate, burst = app_settings.COMMAND_RATE, app_settings.COMMAND_BURST
            bucket = self._commands[user_id] = Bucket(rate, burst, time.monotonic())
        return bucket

    async def run(
        self, user_id: Any, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function``, which may use the ORM, when it is this user's turn.

        Raises:
            ClientError: TOO_MANY_REQUESTS, because too much of this user waits already.
        """
        budget = self._budget(user_id)
        await self._turn(user_id, budget)
        spent: list[float] = []
        timed = partial(_timed, spent, function, *args, **kwargs)
        work = self._loop.create_task(self._lane.run(timed))
        work.add_done_callback(partial(self._done, user_id, budget, spent))
        # The thread goes on although nobody waits any more, and the turn lasts as long as it does.
        return await asyncio.shield(work)

    def _done(
        self, user_id: Any, budget: Budget, spent: list[float], work: asyncio.Task[Any]
    ) -> None:
        if not work.cancelled():
            work.exception()  # whoever asked may be gone, and then nobody else looks at it
        self._charge(user_id, budget, sum(spent))
        self._give_back(budget)

    def charge(self, user_id: Any, seconds: float) -> None:
        """Count work that is done for this user elsewhere.

        Raises:
            ClientError: TOO_MANY_REQUESTS, and nothing is counted, if his budget is used up.
        """
        budget = self._budget(user_id)
        if budget.work.left(self._loop.time()) <= 0:
            raise ClientError(codes.TOO_MANY_REQUESTS)
        self._charge(user_id, budget, seconds)

    def tend(self) -> None:
        """Forget users who have all of their budget again."""
        now = self._loop.time()
        for user_id, budget in list(self._budgets.items()):
            if not budget.is_idle(now):
                return  # those behind it were charged later
            del self._budgets[user_id]

    async def _turn(self, user_id: Any, budget: Budget) -> None:
        if not budget.waiting and self._may_run(budget, self._loop.time()):
            self._take(budget)
            return
        is_crowded = self._waiting >= MOST and budget.waiting
        if len(budget.waiting) >= MOST_OF_ONE or is_crowded:
            raise ClientError(codes.TOO_MANY_REQUESTS)
        turn = self._loop.create_future()
        budget.waiting.append(turn)
        self._queue.setdefault(user_id, budget)
        self._waiting += 1
        self._go_on()
        try:
            async with asyncio.timeout(PATIENCE):
                await turn
        except TimeoutError:
            self._withdraw(user_id, budget, turn)
            raise ClientError(codes.TOO_MANY_REQUESTS) from None
        except BaseException:
            self._withdraw(user_id, budget, turn)
            raise

    def _withdraw(self, user_id: Any, budget: Budget, turn: asyncio.Future[None]) -> None:
        """Who waited has gone, perhaps in the very moment in which his turn came."""
        if turn in budget.waiting:
            budget.waiting.remove(turn)
            self._waiting -= 1
            if not budget.waiting:
                # Else a budget that is forgotten meanwhile would take the place of its successor.
                del self._queue[user_id]
        elif not turn.cancelled():
            self._give_back(budget)

    def _budget(self, user_id: Any) -> Budget:
        budget = self._budgets.get(user_id)
        if budget is None:
            budget = self._budgets[user_id] = Budget(self._loop.time())
        return budget

    def _charge(self, user_id: Any, budget: Budget, seconds: float) -> None:
        now = self._loop.time()
        # One call keeps its user away for no longer than he could have worked at once.
        most = budget.work.left(now) + app_settings.USER_WORK_BURST
        budget.work.take(max(0.0, min(seconds, most)), now)
        self._budgets[user_id] = budget
        self._budgets.move_to_end(user_id)

    def _may_run(self, budget: Budget, now: float) -> bool:
        share = max(1, self._lane.size // 2)
        has_room = self._running < self._lane.size and budget.running < share
        return has_room and budget.work.left(now) > 0

    def _take(self, budget: Budget) -> None:
        budget.running += 1
        self._running += 1

    def _give_back(self, budget: Budget) -> None:
        budget.running -= 1
        self._running -= 1
        self._go_on()

    def _go_on(self) -> None:
        """Give turns to users who wait: one each, and whoever got one goes to the end."""
        now = self._loop.time()
        while served := self._next(now):
            user_id, turn = served
            budget = self._queue.pop(user_id)
            if budget.waiting:
                self._queue[user_id] = budget
            if not turn.done():  # else who waited has gone
                self._take(budget)
                turn.set_result(None)
        self._wake_later(now)

    def _next(self, now: float) -> tuple[Any, asyncio.Future[None]] | None:
        if self._running >= self._lane.size:
            return None
        for user_id, budget in self._queue.items():
            if budget.waiting and self._may_run(budget, now):
                self._waiting -= 1
                return user_id, budget.waiting.popleft()
        return None

    def _wake_later(self, now: float) -> None:
        """Some wait for nothing but their budget."""
        if self._wake is not None or not self._waiting:
            return
        missing = min(-budget.work.left(now) for budget in self._queue.values())
        delay = max(0.0, missing) / app_settings.USER_WORK + 0.01
        self._wake = self._loop.call_later(min(delay, 1.0), self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._go_on()


def _timed(spent: list[float], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` and note the CPU seconds of this thread that it has taken.

    Not the time that passes: a lock, or a machine with other things to do, is not its user's fault.
    """
    began = time.thread_time()
    try:
        return function(*args, **kwargs)
    finally:
        spent.append(time.thread_time() - began)

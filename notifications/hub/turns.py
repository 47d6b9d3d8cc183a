"""Decides whose command runs next: fair among users, and bounded for each user (P9).

A command of a client needs one of few database threads. So each user has a *budget*, a token
bucket of CPU seconds that all connections of the user share: a command costs the CPU time it
takes. The commands of a user whose budget is used up wait. A user with too many waiting commands
gets a temporary error at once. Connects are charged but never wait; acknowledgements and the hub's
own work do neither.
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

#: Commands of one user that may wait for a thread; further ones are refused.
MAX_WAITING_PER_USER = 20

#: Commands of all users that may wait. Beyond that, a command waits only if it is the first one
#: of its user.
MAX_WAITING = 500

#: Seconds after which a waiting command is refused.
MAX_WAIT = 8.0


class Budget:
    """One user's CPU budget, and the commands that run on it or wait for it.

    Args:
        now: the event loop's time, in seconds.
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
        lane: the threads. One user gets at most half of them.
    """

    def __init__(self, lane: Lane = COMMANDS) -> None:
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        #: Budgets by user, the most recently charged one last.
        self.budgets: OrderedDict[Any, Budget] = OrderedDict()
        #: Budgets with waiting commands, the one served longest ago first.
        self._queue: dict[Any, Budget] = {}
        self._running = 0
        self._waiting = 0
        self._wake: asyncio.TimerHandle | None = None
        #: Each user's bucket of commands, kept alive by the sessions of the user's connections.
        self._commands: WeakValueDictionary[Any, Bucket] = WeakValueDictionary()
        #: Those of users who send requests without a connection, the most recent one last.
        self._requesting: OrderedDict[Any, Bucket] = OrderedDict()

    def commands_of(self, user_id: Any) -> Bucket:
        """Return the bucket of commands that all connections of a user share (monotonic clock)."""
        bucket = self._commands.get(user_id)
        if bucket is None:
            rate, burst = app_settings.COMMAND_RATE, app_settings.COMMAND_BURST
            bucket = self._commands[user_id] = Bucket(rate, burst, time.monotonic())
        return bucket

    def count_request(self, user_id: Any) -> None:
        """Count an HTTP request of this user as a command.

        Raises:
            ClientError: TOO_MANY_REQUESTS; then nothing is counted.
        """
        bucket = self._requesting[user_id] = self.commands_of(user_id)
        self._requesting.move_to_end(user_id)
        if not bucket.try_take(1, time.monotonic()):
            raise ClientError(codes.TOO_MANY_REQUESTS)

    async def run(
        self, user_id: Any, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function``, which may use the ORM, when it is this user's turn.

        Returns:
            The result of ``function``, whose exceptions are raised too.

        Raises:
            ClientError: TOO_MANY_REQUESTS, because too many commands are waiting, or because this
                one has waited for :data:`MAX_WAIT` seconds.
        """
        budget = self._budget(user_id)
        await self._turn(user_id, budget)
        spent: list[float] = []
        timed = partial(_timed, spent, function, *args, **kwargs)
        work = self._loop.create_task(self._lane.run(timed))
        work.add_done_callback(partial(self._done, user_id, budget, spent))
        # The thread keeps running if this is cancelled, so its turn must last as long.
        return await asyncio.shield(work)

    def _done(
        self, user_id: Any, budget: Budget, spent: list[float], work: asyncio.Task[Any]
    ) -> None:
        if not work.cancelled():
            work.exception()  # retrieved here, because the caller may have been cancelled
        self._charge(user_id, budget, sum(spent))
        self._give_back(budget)

    def charge(self, user_id: Any, seconds: float) -> None:
        """Charge the budget of this user for work that is done elsewhere.

        Args:
            seconds: CPU seconds.

        Raises:
            ClientError: TOO_MANY_REQUESTS if the budget is used up; then nothing is charged.
        """
        budget = self._budget(user_id)
        if budget.work.left(self._loop.time()) <= 0:
            raise ClientError(codes.TOO_MANY_REQUESTS)
        self._charge(user_id, budget, seconds)

    def forget_idle(self) -> None:
        """Forget idle users whose budget is full again."""
        self._forget_idle_buckets()
        now = self._loop.time()
        for user_id, budget in list(self.budgets.items()):
            if not budget.is_idle(now):
                return  # the following ones were charged later
            del self.budgets[user_id]

    def _forget_idle_buckets(self) -> None:
        now = time.monotonic()
        while self._requesting:
            user_id, bucket = next(iter(self._requesting.items()))
            if not bucket.is_full(now):
                return  # the following ones were used later
            del self._requesting[user_id]

    async def _turn(self, user_id: Any, budget: Budget) -> None:
        if not budget.waiting and self._may_run(budget, self._loop.time()):
            self._take(budget)
            return
        is_crowded = self._waiting >= MAX_WAITING and budget.waiting
        if len(budget.waiting) >= MAX_WAITING_PER_USER or is_crowded:
            raise ClientError(codes.TOO_MANY_REQUESTS)
        turn = self._loop.create_future()
        budget.waiting.append(turn)
        self._queue.setdefault(user_id, budget)
        self._waiting += 1
        self._go_on()
        try:
            async with asyncio.timeout(MAX_WAIT):
                await turn
        except TimeoutError:
            self._withdraw(user_id, budget, turn)
            raise ClientError(codes.TOO_MANY_REQUESTS) from None
        except BaseException:
            self._withdraw(user_id, budget, turn)
            raise

    def _withdraw(self, user_id: Any, budget: Budget, turn: asyncio.Future[None]) -> None:
        """Remove a command that waits no longer, or give back the turn it has just been given."""
        if turn in budget.waiting:
            budget.waiting.remove(turn)
            self._waiting -= 1
            if not budget.waiting:
                # Left in the queue, a budget that is forgotten later would shadow the user's next.
                del self._queue[user_id]
        elif not turn.cancelled():
            self._give_back(budget)

    def _budget(self, user_id: Any) -> Budget:
        budget = self.budgets.get(user_id)
        if budget is None:
            budget = self.budgets[user_id] = Budget(self._loop.time())
        return budget

    def _charge(self, user_id: Any, budget: Budget, seconds: float) -> None:
        now = self._loop.time()
        # Cap the debt at one burst, so that a long call does not lock its user out for long.
        limit = budget.work.left(now) + app_settings.USER_WORK_BURST
        budget.work.take(max(0.0, min(seconds, limit)), now)
        self.budgets[user_id] = budget
        self.budgets.move_to_end(user_id)

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
        """Give free threads to waiting users, one turn each; a user who got one goes to the end."""
        now = self._loop.time()
        while served := self._next(now):
            user_id, turn = served
            budget = self._queue.pop(user_id)
            if budget.waiting:
                self._queue[user_id] = budget
            if not turn.done():  # cancelled otherwise
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
        """Set a timer for commands that wait only for their user's budget to refill."""
        if self._wake is not None or not self._waiting:
            return
        missing = min(-budget.work.left(now) for budget in self._queue.values())
        delay = max(0.0, missing) / app_settings.USER_WORK + 0.01
        self._wake = self._loop.call_later(min(delay, 1.0), self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._go_on()


def _timed(spent: list[float], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` and append the CPU seconds that it took in this thread to ``spent``.

    Elapsed time would charge the user for locks and for the load of the machine.
    """
    began = time.thread_time()
    try:
        return function(*args, **kwargs)
    finally:
        spent.append(time.thread_time() - began)

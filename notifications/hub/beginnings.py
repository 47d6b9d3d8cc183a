"""Creates missing rows of connecting users: their private stream, and subscriptions.

A connect itself only reads, so that it never waits for an uncommitted row of another transaction.
Missing rows are created here at the same time, and the connect waits for them only briefly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from django.db import DataError, IntegrityError

from ..database.lanes import BEGINNINGS
from ..streams.feeds import begin

#: Seconds that a connect waits for the rows before it goes on without these streams.
CONNECT_WAIT = 1.0

#: Most rows that are created together.
BATCH_SIZE = 1000

Missing = tuple[Any, str]


class Beginnings:
    """Creates missing rows in batches; if a batch fails, one row after the other.

    Args:
        on_created: called with each user whose rows were created after the connect had gone on
            without them.
        report: called with failures, which are retried.
    """

    def __init__(
        self, on_created: Callable[[Any], None], report: Callable[[str, Exception], None]
    ) -> None:
        self._on_created = on_created
        self._report = report
        self._missing: dict[Missing, None] = {}
        #: Futures of connects that wait for their user's rows, by user.
        self._waiting: dict[Any, asyncio.Future[None]] = {}
        #: Users whose connects have gone on without the rows.
        self._late: set[Any] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Have all requested rows been created or dropped, so that there is nothing to retry?"""
        return not self._missing and (self._task is None or self._task.done())

    async def make(self, missing: Sequence[Missing]) -> bool:
        """Have the rows of one user created, and wait for that up to :data:`CONNECT_WAIT` seconds.

        Args:
            missing: pairs of the user's primary key and the name of a stream; not empty.

        Returns:
            True if the caller should read again. Rows that are still missing are created later,
            and then ``on_created`` is called.
        """
        user_id = missing[0][0]
        waiting = self._waiting.get(user_id)
        if waiting is None:
            waiting = self._waiting[user_id] = asyncio.get_running_loop().create_future()
        self._add(missing)
        done, _ = await asyncio.wait({waiting}, timeout=CONNECT_WAIT)
        if not done:
            self._late.add(user_id)
        return bool(done)

    def follow(self, missing: Sequence[Missing]) -> None:
        """Have rows created for connected users; ``on_created`` is called with each user."""
        self._late.update(user_id for user_id, _ in missing)
        self._add(missing)

    async def retry(self) -> None:
        """Retry the rows that could not be created."""
        self._add(())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _add(self, missing: Sequence[Missing]) -> None:
        self._missing.update(dict.fromkeys(missing))
        if self._missing and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        failed: dict[Missing, None] = {}
        while self._missing:
            pairs = list(self._missing)[:BATCH_SIZE]
            for pair in pairs:
                del self._missing[pair]
            try:
                done = await self._make(pairs)
            except BaseException:
                self._missing.update(dict.fromkeys(pairs))
                raise
            failed.update(dict.fromkeys(pair for pair in pairs if pair not in done))
            self._wake_connects({user_id for user_id, _ in pairs}, {user_id for user_id, _ in done})
            self._late.update(user_id for user_id, _ in failed)
        self._missing = failed

    async def _make(self, pairs: list[Missing]) -> set[Missing]:
        """Create rows; return the pairs that need no further attempt."""
        try:
            await BEGINNINGS.run(begin, pairs)
        except (IntegrityError, DataError):
            if len(pairs) == 1:
                return set(pairs)  # the user was deleted: a retry cannot succeed
        except Exception as error:
            if len(pairs) == 1:
                self._report("creating subscriptions", error)
                return set()
        else:
            return set(pairs)
        # One row is locked, or one user was deleted: the other rows do not wait for that.
        return {done for pair in pairs for done in await self._make([pair])}

    def _wake_connects(self, tried: set[Any], done: set[Any]) -> None:
        for user_id in tried:
            waiting = self._waiting.pop(user_id, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
            if user_id in self._late and user_id in done:
                self._late.discard(user_id)
                self._on_created(user_id)

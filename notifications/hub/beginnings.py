"""Rows that users lack who connect: their own stream, subscriptions that no signal has made.

Whoever connects only reads, so that nobody waits for a row that somebody else has not committed.
What is missing is made here, beside the connect, which waits for it only briefly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from django.db import DataError, IntegrityError

from ..database.lanes import BEGINNINGS
from ..streams.feeds import begin

#: How long a connect waits for the rows; then it goes on without these streams, seconds.
PATIENCE = 1.0

#: Rows that are made together.
TOGETHER = 1000

Missing = tuple[Any, str]


class Beginnings:
    """Makes what is missing: together, and what fails together one row after the other.

    Args:
        made: told of each user whose rows were made after his connect had gone on without them.
        report: told of what fails; it is tried again.
    """

    def __init__(
        self, made: Callable[[Any], None], report: Callable[[str, Exception], None]
    ) -> None:
        self._made = made
        self._report = report
        self._missing: dict[Missing, None] = {}
        #: Connects that wait for the rows of their user.
        self._waiting: dict[Any, asyncio.Future[None]] = {}
        #: Users whose connects have gone on.
        self._late: set[Any] = set()
        self._task: asyncio.Task[None] | None = None

    async def make(self, missing: Sequence[Missing]) -> bool:
        """Have the rows of one user made, and wait for it a little.

        Args:
            missing: pairs of a user's primary key and the name of a stream.

        Returns:
            Is it worth while to read again? What is still missing follows later, and ``made`` is
            told.
        """
        user_id = missing[0][0]
        waiting = self._waiting.get(user_id)
        if waiting is None:
            waiting = self._waiting[user_id] = asyncio.get_running_loop().create_future()
        self._add(missing)
        done, _ = await asyncio.wait({waiting}, timeout=PATIENCE)
        if not done:
            self._late.add(user_id)
        return bool(done)

    def follow(self, missing: Sequence[Missing]) -> None:
        """Have rows made for users who are connected already; ``made`` is told of them."""
        self._late.update(user_id for user_id, _ in missing)
        self._add(missing)

    async def retry(self) -> None:
        """What has failed is tried again."""
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
            pairs = list(self._missing)[:TOGETHER]
            for pair in pairs:
                del self._missing[pair]
            try:
                done = await self._make(pairs)
            except BaseException:
                self._missing.update(dict.fromkeys(pairs))
                raise
            failed.update(dict.fromkeys(pair for pair in pairs if pair not in done))
            self._tell({user_id for user_id, _ in pairs}, {user_id for user_id, _ in done})
            self._late.update(user_id for user_id, _ in failed)
        self._missing = failed

    async def _make(self, pairs: list[Missing]) -> set[Missing]:
        """Make rows; returns those of which nothing is left to do."""
        try:
            await BEGINNINGS.run(begin, pairs)
        except (IntegrityError, DataError):
            if len(pairs) == 1:
                return set(pairs)  # the user is gone, and another try would not bring him back
        except Exception as error:
            if len(pairs) == 1:
                self._report("making subscriptions", error)
                return set()
        else:
            return set(pairs)
        # Somebody's row is locked, or somebody is gone: the others do not wait for that.
        return {done for pair in pairs for done in await self._make([pair])}

    def _tell(self, tried: set[Any], done: set[Any]) -> None:
        for user_id in tried:
            waiting = self._waiting.pop(user_id, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
            if user_id in self._late and user_id in done:
                self._late.discard(user_id)
                self._made(user_id)

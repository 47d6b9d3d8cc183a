"""What becomes of the transactions of a test.

In Django's ``TestCase`` nothing is ever committed: each test runs in atomic blocks of the test
case, which are rolled back at its end. There, the outermost atomic block *within* those of the test
case counts as a transaction, because outside of tests it is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto
from functools import wraps
from typing import Any
from weakref import WeakSet

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import Atomic

from ..database.transactions import AfterCommit

logger = logging.getLogger(__name__)


class Fate(Enum):
    """What has become of a transaction so far."""

    OPEN = auto()
    COMMITTED = auto()
    ROLLED_BACK = auto()


class Transaction:
    """The transaction that is in progress when this is created.

    Args:
        connection: the connection that it belongs to; it is in an atomic block.
        callback: a callback that was registered for its commit.
    """

    def __init__(self, connection: BaseDatabaseWrapper, callback: AfterCommit) -> None:
        self._connection = connection
        self._callback = callback
        self._has_committed = False
        self._has_rolled_back = False
        self._number = connection.savepoint_state
        _transactions.add(self)
        outer = _blocks_of_testcase(connection)
        self._is_in_testcase = outer > 0
        if self._is_in_testcase:
            self._block = connection.atomic_blocks[outer]
            # A savepoint, unlike a block, is entered only once: a decorator uses its block again.
            behind = len(connection.atomic_blocks) - len(connection.savepoint_ids)
            self._savepoint: str | None = connection.savepoint_ids[outer - behind]
        else:
            transaction.on_commit(self._commit, using=connection.alias, robust=True)
            # Django skips the callbacks behind one that raises. A test case calls callbacks by
            # their places in this list, but not while it has no block here.
            connection.run_on_commit.insert(0, connection.run_on_commit.pop())

    @property
    def fate(self) -> Fate:
        if self._has_rolled_back:
            return Fate.ROLLED_BACK
        if self._has_committed:
            return Fate.COMMITTED
        connection = self._connection
        # Django removes the callbacks of a transaction or block that is rolled back.
        if not any(hook[1] is self._callback for hook in connection.run_on_commit):
            return Fate.ROLLED_BACK
        if not self._is_in_testcase or self._is_open():
            return Fate.OPEN
        if self._savepoint is None and connection.needs_rollback:
            return Fate.ROLLED_BACK
        return Fate.COMMITTED

    def note_rollback(self, connection: BaseDatabaseWrapper, savepoint: str) -> None:
        """The connection was rolled back to a savepoint, perhaps one that is not of a block."""
        # Django numbers the savepoints of a connection.
        if connection is self._connection and int(savepoint.rpartition("x")[2]) <= self._number:
            self._has_rolled_back = True

    def _is_open(self) -> bool:
        if self._savepoint is None:
            return any(block is self._block for block in self._connection.atomic_blocks)
        return self._savepoint in self._connection.savepoint_ids

    def _commit(self) -> None:
        self._has_committed = True


class _Hook:
    """Calls a function after each call of a method of Django, while anybody uses it."""

    def __init__(self, owner: type, name: str, then: Callable[..., None]) -> None:
        self._owner = owner
        self._name = name
        self._then = then
        self._users = 0
        self._original: Callable[..., Any] = getattr(owner, name)

    @contextmanager
    def used(self) -> Iterator[None]:
        self._users += 1
        if self._users == 1:
            self._place()
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                setattr(self._owner, self._name, self._original)

    def _place(self) -> None:
        self._original = original = getattr(self._owner, self._name)

        @wraps(original)
        def call(instance: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(instance, *args, **kwargs)
            self._then(instance, *args, **kwargs)
            return result

        setattr(self._owner, self._name, call)


class _Committing:
    """Runs this app's callbacks when a transaction within a test case has ended well."""

    def __init__(self) -> None:
        self._leaving = _Hook(Atomic, "__exit__", self._left)
        self._registering = _Hook(BaseDatabaseWrapper, "on_commit", self._registered)
        self._users = 0
        self._done: list[AfterCommit] = []
        self._busy: set[BaseDatabaseWrapper] = set()

    @contextmanager
    def used(self) -> Iterator[None]:
        self._users += 1
        try:
            with self._leaving.used(), self._registering.used():
                yield
        finally:
            self._users -= 1
            if not self._users:
                # What was registered before the test is done by the next one again.
                for callback in self._done:
                    callback.is_done = False
                self._done.clear()

    def run_due(self, connection: BaseDatabaseWrapper) -> None:
        """Run the callbacks of transactions that have ended well, in order, each once."""
        is_open = len(connection.atomic_blocks) > _blocks_of_testcase(connection)
        if is_open or connection.needs_rollback or connection in self._busy:
            return
        self._busy.add(connection)
        try:
            while due := [callback for callback in _ours(connection) if not callback.is_done]:
                _call(due[0])
                due[0].is_done = True
                self._done.append(due[0])
        finally:
            self._busy.discard(connection)

    def _left(self, block: Atomic, *error: Any) -> None:
        if not getattr(block, "_from_testcase", False):
            self.run_due(transaction.get_connection(block.using))

    def _registered(self, connection: BaseDatabaseWrapper, *call: Any, **options: Any) -> None:
        self.run_due(connection)


def _note_rollback(connection: BaseDatabaseWrapper, savepoint: str) -> None:
    for one in list(_transactions):
        one.note_rollback(connection, savepoint)


_transactions: WeakSet[Transaction] = WeakSet()
_rolling_back = _Hook(BaseDatabaseWrapper, "savepoint_rollback", _note_rollback)
_committing = _Committing()


def watching() -> AbstractContextManager[None]:
    """Needed while fates are asked for."""
    return _rolling_back.used()


@contextmanager
def committing() -> Iterator[None]:
    """Within a test case, do what this app does after a commit, when that would be.

    Callbacks of other apps are not run; Django's ``captureOnCommitCallbacks`` runs those.
    """
    with _committing.used():
        yield


def catch_up() -> None:
    """Run what was registered before :func:`committing`, by the connections of this thread."""
    for connection in connections.all(initialized_only=True):
        _committing.run_due(connection)


def _blocks_of_testcase(connection: BaseDatabaseWrapper) -> int:
    """The number of atomic blocks that a test case has entered; they are the outermost ones."""
    return sum(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _ours(connection: BaseDatabaseWrapper) -> list[AfterCommit]:
    # Outside of a test case Django runs them.
    if not _blocks_of_testcase(connection):
        return []
    hooks: list[Any] = list(connection.run_on_commit)
    return [hook[1] for hook in hooks if isinstance(hook[1], AfterCommit)]


def _call(callback: AfterCommit) -> None:
    """As Django calls robust callbacks."""
    try:
        callback()
    except Exception:
        logger.exception("A callback after a commit has failed: %s", callback.__qualname__)

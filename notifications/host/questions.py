"""Calls of the host's code that may take long, in threads of a lane of their own.

The caller waits only briefly. A late answer is kept for the next call with the same key. A question
that hangs occupies one thread, however often it is asked: later callers get no answer at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, wait
from typing import Generic, NamedTuple, TypeVar

from ..database.lanes import Lane

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

#: Seconds for which a late answer is kept.
ANSWER_LIFETIME = 5.0


class Undecided(Exception):
    """There is no answer yet.

    Args:
        age: seconds for which a thread has been working on the question; 0 if none has begun.
    """

    def __init__(self, age: float = 0.0) -> None:
        super().__init__(f"no answer for {age:.1f} s")
        self.age = age


class _Call(Generic[T]):
    """A question that was submitted to the lane."""

    def __init__(self, lane: Lane, question: Callable[[], T]) -> None:
        self._question = question
        #: Monotonic seconds at which a thread began and ended the question; 0 for not yet.
        self._began = 0.0
        self.ended = 0.0
        self.future: Future[T] = lane.submit(self._answer)

    @property
    def age(self) -> float:
        return time.monotonic() - self._began if self._began else 0.0

    @property
    def is_old(self) -> bool:
        return self.ended > 0 and time.monotonic() - self.ended > ANSWER_LIFETIME

    def _answer(self) -> T:
        self._began = time.monotonic()
        try:
            return self._question()
        finally:
            self.ended = time.monotonic()


class Answers(NamedTuple, Generic[K, T]):
    """Finished calls by key, and the ages in seconds of those that are undecided.

    A finished call may hold an exception instead of a result.
    """

    found: dict[K, Future[T]]
    undecided: dict[K, float]


class Asker(Generic[K, T]):
    """Asks one question at a time for each key.

    Args:
        lane: the lane whose threads run the questions.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._lock = threading.Lock()
        #: Calls that the thread that submitted them still waits for.
        self._asked: dict[K, _Call[T]] = {}
        #: Calls that were not finished when that thread stopped waiting.
        self._late: dict[K, _Call[T]] = {}

    def ask(self, key: K, question: Callable[[], T], patience: float) -> T:
        """Ask one question; see :meth:`ask_all`.

        Args:
            key: identifies the question.
            question: the function to call.
            patience: seconds to wait for the answer.

        Raises:
            Undecided: the answer takes longer.
            Exception: whatever the question raises.
        """
        answers = self.ask_all({key: question}, patience)
        if key in answers.undecided:
            raise Undecided(answers.undecided[key])
        return answers.found[key].result()

    def ask_all(self, questions: Mapping[K, Callable[[], T]], patience: float) -> Answers[K, T]:
        """Ask these questions together; a late answer to an earlier call is used if it is fresh.

        Args:
            questions: the functions to call, by key.
            patience: seconds to wait for all answers together.
        """
        deadline = time.monotonic() + patience
        answers: Answers[K, T] = Answers({}, {})
        mine: dict[K, _Call[T]] = {}
        others: dict[K, _Call[T]] = {}
        with self._lock:
            self._late = {key: call for key, call in self._late.items() if not call.is_old}
            for key, question in questions.items():
                late = self._late.get(key)
                if late is not None and late.future.done():
                    answers.found[key] = self._late.pop(key).future
                elif late is not None:
                    answers.undecided[key] = late.age
                elif key in self._asked:
                    others[key] = self._asked[key]
                else:
                    mine[key] = self._asked[key] = _Call(self._lane, question)
        _wait(mine, deadline)
        with self._lock:
            for key, call in mine.items():
                del self._asked[key]
                if call.future.done():
                    answers.found[key] = call.future
                else:
                    self._late[key] = call
                    answers.undecided[key] = call.age
        # Another caller's answer may be older than this question, so it is asked again.
        _wait(others, deadline)
        done = {key: questions[key] for key, call in others.items() if call.future.done()}
        answers.undecided.update({key: others[key].age for key in others.keys() - done.keys()})
        if done:
            time.sleep(0.001)  # lets the other callers remove their calls from _asked
            more = self.ask_all(done, max(0.0, deadline - time.monotonic()))
            answers.found.update(more.found)
            answers.undecided.update(more.undecided)
        return answers


def _wait(calls: Mapping[K, _Call[T]], deadline: float) -> None:
    if calls:
        wait(
            [call.future for call in calls.values()],
            max(0.0, deadline - time.monotonic()),
        )

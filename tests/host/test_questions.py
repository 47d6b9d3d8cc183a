"""Questions that take long delay their callers only briefly, and no others."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from notifications.database.lanes import Lane
from notifications.host.questions import Asker, Undecided


@pytest.fixture
def asker() -> Iterator[Asker[Any, str]]:
    lane = Lane("asking", 2)
    yield Asker(lane)
    lane.close()


class Slow:
    """A question that is answered after ``end`` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.end = threading.Event()

    def __call__(self) -> str:
        self.asked += 1
        assert self.end.wait(60)
        return "late"


def test_an_answer_is_awaited(asker: Asker[Any, str]) -> None:
    assert asker.ask("one", lambda: "yes", 60.0) == "yes"
    with pytest.raises(ZeroDivisionError):
        asker.ask("one", lambda: str(1 / 0), 60.0)


def test_a_question_that_hangs_occupies_one_thread_however_often_it_is_asked(
    asker: Asker[Any, str],
) -> None:
    slow = Slow()
    for _ in range(5):
        with pytest.raises(Undecided):
            asker.ask("slow", slow, 0.05)
    assert slow.asked == 1
    assert asker.ask("other", lambda: "yes", 60.0) == "yes"
    slow.end.set()


def test_a_late_answer_is_used_once(asker: Asker[Any, str]) -> None:
    slow = Slow()
    with pytest.raises(Undecided):
        asker.ask("slow", slow, 0.01)
    slow.end.set()
    deadline = time.monotonic() + 60
    answer = ""
    while not answer:
        assert time.monotonic() < deadline
        with suppress(Undecided):
            answer = asker.ask("slow", lambda: "new", 60.0)
    assert answer == "late"
    assert asker.ask("slow", lambda: "new", 60.0) == "new"


def test_an_answer_to_an_earlier_question_is_not_given_to_a_later_caller(
    asker: Asker[Any, str],
) -> None:
    slow, found = Slow(), []
    first = threading.Thread(target=lambda: found.append(asker.ask("one", slow, 60.0)))
    first.start()
    while not slow.asked:
        time.sleep(0.001)
    with pytest.raises(Undecided):
        asker.ask("one", lambda: "new", 0.05)
    second = threading.Thread(target=lambda: found.append(asker.ask("one", lambda: "new", 60.0)))
    second.start()
    slow.end.set()
    first.join(60)
    second.join(60)
    assert sorted(found) == ["late", "new"]


def test_slow_questions_run_concurrently_and_are_answered_later(
    asker: Asker[Any, str],
) -> None:
    slow = {number: Slow() for number in range(20)}
    answers = asker.ask_all({**slow, "quick": lambda: "yes"}, 0.05)
    assert answers.undecided.keys() == {*slow, "quick"}
    # The age of a question that has not begun is 0.
    assert sum(age > 0 for age in answers.undecided.values()) == 2
    for question in slow.values():
        question.end.set()
    deadline = time.monotonic() + 60
    while answers.undecided:
        assert time.monotonic() < deadline
        answers = asker.ask_all({**slow, "quick": lambda: "yes"}, 60.0)
    assert answers.found["quick"].result() == "yes"
    assert answers.found.keys() == {*slow, "quick"}

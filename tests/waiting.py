"""Waiting for a state, which is there when it is there: no test sleeps and hopes."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.client import PATIENCE

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], what: str | Callable[[], str], patience: float = PATIENCE
) -> T:
    """Wait until ``condition()`` is true, and return its value.

    Args:
        condition: is asked again and again.
        what: what is waited for, or a function that says what is there instead.
        patience: seconds.

    Raises:
        AssertionError: it is still false.
    """
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.02)
    return found

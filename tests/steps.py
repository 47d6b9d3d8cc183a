"""Counts the work of a piece of code in steps, which no other process on the machine changes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: What only carries the test: whatever turns a loop needs, and what a test itself does.
CARRIERS = tuple(
    f"{os.sep}{name}{os.sep}"
    for name in ("asyncio", "logging", "tests", "hypothesis", "pytest_asyncio")
)


class Steps:
    """Lines of Python that were executed."""

    def __init__(self) -> None:
        self.count = 0

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        return None if any(name in path for name in CARRIERS) else self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.count += 1
        return self._step


@contextmanager
def counted() -> Iterator[Steps]:
    """Count the steps of this thread, tasks and callbacks of its loop among them."""
    steps = Steps()
    before = sys.gettrace()
    sys.settrace(steps._enter)
    try:
        yield steps
    finally:
        sys.settrace(before)

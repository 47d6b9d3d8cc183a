"""Measure work in executed lines of Python, which the load of the machine does not affect."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: Directories whose code is not counted: the event loop, logging and the tests themselves.
UNCOUNTED = tuple(
    f"{os.sep}{name}{os.sep}"
    for name in ("asyncio", "logging", "tests", "hypothesis", "pytest_asyncio")
)


class Steps:
    """Counts executed lines of Python."""

    def __init__(self) -> None:
        self.count = 0

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        return None if any(name in path for name in UNCOUNTED) else self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.count += 1
        return self._step


@contextmanager
def counted() -> Iterator[Steps]:
    """Count the lines that this thread executes, including tasks and callbacks of its loop."""
    steps = Steps()
    before = sys.gettrace()
    sys.settrace(steps.enter)
    try:
        yield steps
    finally:
        sys.settrace(before)

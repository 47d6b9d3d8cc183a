"""The return value of a handler."""

from collections.abc import Callable
from typing import NamedTuple

from ..protocol import messages


def _do_nothing() -> None:
    return None


class Outcome(NamedTuple):
    """The result of a command, and a callback to call once it was written or has failed to be."""

    result: messages.Result
    then: Callable[[], None] = _do_nothing

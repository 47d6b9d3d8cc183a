"""What a handler gives back."""

from collections.abc import Callable
from typing import NamedTuple

from ..protocol import messages


def _nothing() -> None:
    return None


class Outcome(NamedTuple):
    """The result of a command, and what has to follow once it has been written (or cannot be)."""

    result: messages.Result
    then: Callable[[], None] = _nothing

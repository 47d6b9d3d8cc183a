"""Find regular expressions that may take more than linear time, by their structure.

The matcher of :mod:`re` backtracks: if a text can be divided among quantifiers in several ways, it
tries all of them before it fails. A pattern that allows this has a fault.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

#: A sample of characters that stands for all of them.
ALPHABET = frozenset(map(chr, range(256))) | frozenset("ıſΩЖשあ😀\u2028\u00a0")

REPEATS = (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT)

#: A quantifier that allows more repetitions than this counts as unbounded.
MANY = 8

Item = tuple[Any, Any]


class Part(NamedTuple):
    """One step of a pattern: the characters it may match, and how many of them."""

    chars: frozenset[str]
    least: int
    most: int

    @property
    def is_long(self) -> bool:
        return self.least != self.most and self.most > MANY


def faults(pattern: str | bytes, flags: int = 0) -> list[str]:
    """List a pattern's faults; none if matching takes linear time from a given position."""
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    flags &= ~(re.UNICODE if isinstance(pattern, bytes) else 0)
    return list(_faults(_parser.parse(text, flags), flags & re.IGNORECASE))


def begins_anywhere(pattern: str | bytes) -> bool:
    """Return whether a pattern begins with a long repeat.

    A search may then start anew at each character that the repeat matched, which takes quadratic
    time. A negative lookbehind in front of the repeat prevents that.
    """
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    for item in _parser.parse(text):
        if item[0] in (c.AT, c.ASSERT_NOT):
            return False
        part = _part(item, 0)
        if part.is_long:
            return True
        if part.least:
            return False
    return False


def _faults(items: Sequence[Item], ignore: int) -> Iterator[str]:
    for operator, value in items:
        for inner in _inner(operator, value):
            yield from _faults(inner, ignore)
        if operator in REPEATS and value[1] > 1:
            if any(_repeats(value[2])):
                yield "a quantifier within a quantifier"
            if not _is_decided(value[2], ignore):
                yield "alternatives in a quantifier start with the same character"
    parts = [_part(item, ignore) for item in items]
    long = [place for place, part in enumerate(parts) if part.is_long]
    for first, second in pairwise(long):
        between = [part for part in parts[first + 1 : second] if part.least]
        separators = [*between, *([] if between else [parts[second]])]
        if all(part.chars & parts[first].chars for part in separators):
            yield "two quantifiers match the same characters"


def _inner(operator: Any, value: Any) -> list[Sequence[Item]]:
    """The sequences of items nested in an item."""
    if operator in REPEATS:
        return [value[2]]
    if operator is c.SUBPATTERN:
        return [value[3]]
    if operator is c.BRANCH:
        return list(value[1])
    if operator in (c.ASSERT, c.ASSERT_NOT):
        return [value[1]]
    if operator is c.ATOMIC_GROUP:
        return [value]
    assert operator not in (c.GROUPREF, c.GROUPREF_EXISTS), "backreferences are not supported"
    return []


def _repeats(items: Sequence[Item]) -> Iterator[bool]:
    """Yield True for each variable quantifier in these items."""
    for operator, value in items:
        if operator in REPEATS and value[0] != value[1]:
            yield True
        for inner in _inner(operator, value):
            yield from _repeats(inner)


def _is_decided(items: Sequence[Item], ignore: int) -> bool:
    """Return whether the first character determines the alternative."""
    for operator, value in items:
        if operator is c.SUBPATTERN:
            if not _is_decided(value[3], ignore):
                return False
        elif operator is c.BRANCH:
            seen: set[str] = set()
            for alternative in value[1]:
                first = _part(alternative[0], ignore).chars if len(alternative) else ALPHABET
                if first & seen:
                    return False
                seen |= first
    return True


def _part(item: Item, ignore: int) -> Part:
    operator, value = item
    if operator in REPEATS:
        inner = _sequence(value[2], ignore)
        return Part(inner.chars, value[0] * inner.least, int(value[1]) * max(inner.most, 1))
    if operator is c.SUBPATTERN:
        return _sequence(value[3], ignore)
    if operator is c.ATOMIC_GROUP:
        return _sequence(value, ignore)
    if operator is c.BRANCH:
        parts = [_sequence(alternative, ignore) for alternative in value[1]]
        chars = frozenset().union(*(part.chars for part in parts))
        return Part(chars, min(part.least for part in parts), max(part.most for part in parts))
    if operator in (c.AT, c.ASSERT, c.ASSERT_NOT):
        return Part(frozenset(), 0, 0)
    return Part(_chars(operator, value, ignore), 1, 1)


def _sequence(items: Sequence[Item], ignore: int) -> Part:
    parts = [_part(item, ignore) for item in items]
    chars = frozenset().union(*(part.chars for part in parts))
    return Part(chars, sum(part.least for part in parts), sum(part.most for part in parts))


def _chars(operator: Any, value: Any, ignore: int) -> frozenset[str]:
    """The characters of :data:`ALPHABET` that an item matches, according to :mod:`re` itself."""
    state = _parser.State()
    state.flags = ignore
    state.str = ""
    one = re._compiler.compile(  # type: ignore[attr-defined]
        _parser.SubPattern(state, [(operator, value)]), ignore
    )
    return frozenset(char for char in ALPHABET if one.fullmatch(char))

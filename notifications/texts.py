"""Text and JSON as hosts bring them: safe strings, lazy translations, members of enums, dates.

``str`` has subclasses, and encoders and drivers know only itself.
"""

import json
import math
import unicodedata
from collections.abc import Iterable
from typing import Any, Self, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

#: JavaScript reads whole numbers beyond this one wrongly (``Number.MAX_SAFE_INTEGER``).
MAX_INTEGER = 2**53 - 1

#: How deep objects and lists may lie in each other.
MAX_DEPTH = 64

#: Unicode's general categories of what leaves no ink by itself.
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Me", "Mn", "Zl", "Zp", "Zs"})

#: Letters and symbols that are blank: fillers of Hangul, the empty pattern of Braille.
BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")

#: Characters of a place that a message names.
MOST_SAID = 80

#: What is text, now or when it is asked.
TEXT = (str, Promise)

_encoder = DjangoJSONEncoder()


def plain(text: Any) -> str:
    """The text as a ``str`` and nothing more.

    Args:
        text: a ``str`` of any kind, or something lazy, which becomes what it says now.
    """
    kind = type(text)
    if kind is str:
        return cast("str", text)
    if not issubclass(kind, str):
        text = str(text)
    # Not str(text): that is a safe string again, and the name of some enums' members.
    return str.__str__(text)


def one_line(text: str) -> str:
    """The text with a space for each line break, and none around it."""
    return " ".join(line for part in text.splitlines() if (line := part.strip()))


def is_blank(text: str) -> bool:
    """Is there nothing to see: only space, control characters, marks without a letter?"""
    return all(
        character in BLANK or unicodedata.category(character) in INVISIBLE for character in text
    )


def is_storable(text: str) -> bool:
    """Can PostgreSQL store and JSON carry it: neither NUL nor a lone surrogate in it?"""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def plain_json(value: Any) -> Any:
    """A value made of nothing but JSON's own types, as every client reads it.

    Dates, times, durations, ``Decimal`` and ``UUID`` become text as
    :class:`~django.core.serializers.json.DjangoJSONEncoder` writes them, tuples lists, and keys
    that are numbers text.

    Raises:
        ValueError: it is not JSON, or not for everybody; the message names the place.
    """
    try:
        return _plain_json(value, 0)
    except _NotJson as error:
        raise ValueError(str(error)) from None


class _NotJson(Exception):
    """Told from the inside to the outside, so that what is right costs no path."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._path: list[str] = []

    def within(self, name: object) -> Self:
        self._path.append(str(name))
        return self

    def __str__(self) -> str:
        place = ".".join(reversed(self._path))
        place = place if len(place) <= MOST_SAID else place[: MOST_SAID - 1] + "…"
        return f"{place}: {self._reason}" if place else self._reason


def _plain_json(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, TEXT):
        return _plain_text(value)
    if isinstance(value, (int, float)):
        return _plain_number(value)
    if depth >= MAX_DEPTH:
        raise _NotJson(f"deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return _plain_object(value.items(), depth)
    if isinstance(value, (list, tuple)):
        return _plain_list(value, depth)
    return _plain_text(_written_out(value))


def _plain_number(value: float) -> float:
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise _NotJson("JavaScript reads whole numbers beyond 2^53 wrongly, send it as text")
    if not math.isfinite(value):
        raise _NotJson(f"{float(value)} is no number of JSON")
    # Members of enums are numbers too.
    return int(value) if isinstance(value, int) else float(value)


def _written_out(value: Any) -> str:
    """Dates and the like."""
    try:
        return str(_encoder.default(value))
    except TypeError:
        raise _NotJson(f"{type(value).__name__} is not JSON") from None
    except ValueError as error:  # a time with a zone
        raise _NotJson(str(error).rstrip(".")) from None


def _plain_list(values: Iterable[Any], depth: int) -> list[Any]:
    found: list[Any] = []
    try:
        for value in values:
            found.append(_plain_json(value, depth + 1))
    except _NotJson as error:
        raise error.within(len(found)) from None
    return found


def _plain_object(items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in items:
        name = _plain_key(key)
        if name in found:
            raise _NotJson("two keys that are the same text").within(name)
        try:
            found[name] = _plain_json(value, depth + 1)
        except _NotJson as error:
            raise error.within(name) from None
    return found


def _plain_key(key: Any) -> str:
    if isinstance(key, TEXT):
        return _plain_text(key)
    if key is None or isinstance(key, int | float):
        return json.dumps(key)
    raise _NotJson(f"{type(key).__name__} is no key of JSON")


def _plain_text(value: Any) -> str:
    text = plain(value)
    if not is_storable(text):
        raise _NotJson("text with a NUL character or a lone surrogate")
    return text

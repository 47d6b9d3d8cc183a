"""Conversion of the host's values to plain text and JSON.

Hosts pass safe strings, lazy translations, members of enums and dates. JSON encoders and database
drivers accept only ``str`` itself, not its subclasses.
"""

import json
import math
import unicodedata
from collections.abc import Iterable
from typing import Any, Self, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

#: JavaScript cannot represent all integers beyond this one (``Number.MAX_SAFE_INTEGER``).
MAX_INTEGER = 2**53 - 1

#: Levels to which objects and lists may be nested.
MAX_DEPTH = 64

#: Unicode's general categories of characters that are invisible by themselves.
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Me", "Mn", "Zl", "Zp", "Zs"})

#: Letters and symbols that are blank: Hangul fillers, and the empty Braille pattern.
BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")

#: Characters of the path in an error message.
MAX_PATH = 80

#: Types of text, also of lazy text.
TEXT = (str, Promise)

_encoder = DjangoJSONEncoder()


def plain(text: Any) -> str:
    """Convert a text to an instance of ``str`` itself.

    Args:
        text: an instance of any subclass of ``str``, or a lazy text, which is evaluated now.
    """
    kind = type(text)
    if kind is str:
        return cast("str", text)
    if not issubclass(kind, str):
        text = str(text)
    # Not str(text), which gives a safe string again, or the name of a member of some enums.
    return str.__str__(text)


def one_line(text: str) -> str:
    """Replace line breaks by spaces, and strip the lines; empty lines are dropped."""
    return " ".join(line for part in text.splitlines() if (line := part.strip()))


def is_blank(text: str) -> bool:
    """Return whether a text has no visible characters, only space, control characters and marks."""
    return all(
        character in BLANK or unicodedata.category(character) in INVISIBLE for character in text
    )


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store a text: without NUL and lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def plain_json(value: Any) -> Any:
    """Convert a value to JSON's own types, such that every client reads it correctly.

    Dates, times, durations, ``Decimal`` and ``UUID`` become text as
    :class:`~django.core.serializers.json.DjangoJSONEncoder` writes them. Tuples become lists, and
    keys that are numbers, booleans or None become text.

    Raises:
        ValueError: the value cannot be represented in JSON, or not in all clients; the message has
            the path to it.
    """
    try:
        return _plain_json(value, 0)
    except _NotJson as error:
        raise ValueError(str(error)) from None


class _NotJson(Exception):
    """Collects the path while it propagates outwards, so that valid values cost nothing."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._path: list[str] = []

    def within(self, name: object) -> Self:
        self._path.append(str(name))
        return self

    def __str__(self) -> str:
        place = ".".join(reversed(self._path))
        place = place if len(place) <= MAX_PATH else place[: MAX_PATH - 1] + "…"
        return f"{place}: {self._reason}" if place else self._reason


def _plain_json(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, TEXT):
        return _plain_text(value)
    if isinstance(value, (int, float)):
        return _plain_number(value)
    if depth >= MAX_DEPTH:
        raise _NotJson(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return _plain_object(value.items(), depth)
    if isinstance(value, (list, tuple)):
        return _plain_list(value, depth)
    return _plain_text(_written_out(value))


def _plain_number(value: float) -> float:
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise _NotJson("integers beyond 2^53 lose precision in JavaScript; send a string")
    if not math.isfinite(value):
        raise _NotJson(f"{float(value)} is not a JSON number")
    # Members of enums may be numbers too.
    return int(value) if isinstance(value, int) else float(value)


def _written_out(value: Any) -> str:
    """Convert dates and other types that the encoder knows."""
    try:
        return str(_encoder.default(value))
    except TypeError:
        raise _NotJson(f"{type(value).__name__} cannot be encoded as JSON") from None
    except ValueError as error:  # the encoder refuses an aware time
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
            raise _NotJson("two keys become the same text").within(name)
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
    raise _NotJson(f"{type(key).__name__} cannot be a JSON key")


def _plain_text(value: Any) -> str:
    text = plain(value)
    if not is_storable(text):
        raise _NotJson("text with a NUL character or a lone surrogate")
    return text

"""Shared by the commands ``notify`` and ``broadcast``: arguments, times and errors."""

import json
import re
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime, parse_duration

from ...database.clock import read_clock
from ...models import Level, Notification, database_alias

#: Options whose names differ from those of the fields.
OPTIONS = {"publish_at": "--at", "expires_at": "--expires", "title": "title"}

DURATION = re.compile(r"(\d+)\s*([smhdw])\Z")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_arguments(parser: ArgumentParser, kind: str) -> None:
    """Add the options for the content and the times of a notification.

    Args:
        parser: the parser of the command.
        kind: the default of ``--kind``.
    """
    parser.add_argument("--body", default="", help="the text below the title")
    parser.add_argument("--url", default="", help="a path on this site or an http(s) URL")
    parser.add_argument("--kind", default=kind, help=f"a dotted slug, default {kind}")
    parser.add_argument("--level", default=Level.INFO.value, choices=Level.values)
    parser.add_argument("--data", metavar="JSON", help="a JSON object for the client's own code")
    parser.add_argument("--key", help="sending again with the same key does nothing")
    parser.add_argument(
        "--at", metavar="TIME", help="publish it at this time, such as 2030-12-31T18:00"
    )
    parser.add_argument(
        "--expires",
        metavar="TIME",
        help="hide it at this time, or after this duration: 90s, 30m, 2h, 7d, 2w, PT2H",
    )


def read_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the options to arguments of :func:`notifications.publishing.notify.notify`.

    Raises:
        CommandError: an option is invalid; the message names it.
    """
    publish_at = _moment("--at", options["at"]) if options["at"] else None
    return {
        **{name: options[name] for name in ("body", "url", "kind", "level", "key")},
        "data": _data(options["data"]) if options["data"] else None,
        "publish_at": publish_at,
        "expires_at": _expiry(options["expires"], publish_at) if options["expires"] else None,
    }


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn a ``ValidationError`` into a ``CommandError`` with one line per argument."""
    try:
        yield
    except ValidationError as error:
        lines = [
            f"{OPTIONS.get(name, f'--{name}')}: {' '.join(messages)}"
            for name, messages in error.message_dict.items()
        ]
        raise CommandError("\n".join(lines)) from error


def describe(notification: Notification, what: str) -> str:
    """Say in one sentence whether a notification is sent, scheduled or only saved.

    Args:
        notification: a saved notification.
        what: a phrase for it, such as ``notification 12 to reader``.
    """
    if notification.offset is not None:
        return f"Sent {what}."
    if notification.publish_at > read_clock(database_alias()):
        moment = timezone.localtime(notification.publish_at).isoformat(" ", "minutes")
        return f"Waiting until {moment}: {what}."
    return f"Saved {what}; a worker will send it."


def _data(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"--data: This is not JSON: {error}") from error


def _moment(option: str, text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError as error:
        raise CommandError(f"{option}: {text!r} does not exist: {error}.") from error
    if moment is None:
        raise CommandError(f"{option}: {text!r} is not a time such as 2030-12-31T18:00.")
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _expiry(text: str, publish_at: datetime | None) -> datetime:
    duration = _duration(text)
    if duration is None:
        return _moment("--expires", text)
    try:
        return (publish_at or timezone.now()) + duration
    except OverflowError as error:
        raise CommandError(f"--expires: {text} is too long.") from error


def _duration(text: str) -> timedelta | None:
    if text.startswith("P"):
        return parse_duration(text)
    short = DURATION.match(text)
    if short is None:
        return None
    try:
        return timedelta(**{UNITS[short[2]]: int(short[1])})
    except OverflowError as error:
        raise CommandError(f"--expires: {text} is too long.") from error

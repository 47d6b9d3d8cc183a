"""A helper that is away is logged once in a while, in a line."""

import logging

from notifications.logs import Seldom


def record(text: str) -> logging.LogRecord:
    error = ConnectionError("redis://user:secret@host")
    return logging.LogRecord("x", logging.ERROR, "", 0, text, (), (type(error), error, None))


def test_the_first_record_passes_without_its_traceback_and_the_next_ones_do_not() -> None:
    seldom = Seldom()
    first = record("Unexpected")
    assert seldom.filter(first)
    assert logging.Formatter().format(first) == "Unexpected (ConnectionError)"
    assert not seldom.filter(record("Unexpected"))


def test_a_minute_later_one_passes_again() -> None:
    seldom = Seldom(seconds=0.0)
    assert seldom.filter(record("one"))
    assert seldom.filter(record("two"))

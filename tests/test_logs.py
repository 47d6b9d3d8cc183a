"""Log filters with rate limits, and the formatter for printable lines."""

import logging
import time
from types import SimpleNamespace

import pytest

from notifications import logs
from notifications.logs import MAX_MESSAGE, Line, Seldom, Strangers, quoted


def record(text: str) -> logging.LogRecord:
    error = ConnectionError("redis://user:secret@host")
    return logging.LogRecord("x", logging.ERROR, "", 0, text, (), (type(error), error, None))


def test_seldom_passes_one_record_without_its_traceback() -> None:
    seldom = Seldom()
    first = record("Unexpected")
    assert seldom.filter(first)
    assert logging.Formatter().format(first) == "Unexpected (ConnectionError)"
    assert not seldom.filter(record("Unexpected"))


def test_seldom_passes_a_record_again_after_the_interval() -> None:
    seldom = Seldom(seconds=0.0)
    assert seldom.filter(record("one"))
    assert seldom.filter(record("two"))


def refusal(name: str, status: int | None = None, text: str = "Not Found") -> logging.LogRecord:
    level = logging.ERROR if status == 500 else logging.WARNING
    made = logging.LogRecord(name, level, "", 0, "%s: /", (text,), None)
    if status is not None:
        made.status_code = status
    return made


def test_one_record_passes_per_kind_of_refused_request_with_a_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strangers = Strangers(seconds=60)
    kinds = [
        ("django.request", 404),
        ("django.request", 403),
        ("django.security.DisallowedHost", None),
        ("django.security.csrf", 403),
        ("uvicorn.error", None),
    ]
    assert [kind for _ in range(3) for kind in kinds if strangers.filter(refusal(*kind))] == kinds
    now = time.monotonic() + 60
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: now))
    last = refusal("django.request", 404)
    assert strangers.filter(last)
    assert last.getMessage() == "Not Found: / (2 more since the last such line)"


def test_other_records_pass_unchanged() -> None:
    strangers = Strangers(seconds=60)
    for name, status in [("django.request", 500), ("notifications.hub", None), ("django", None)]:
        for _ in range(2):
            each = refusal(name, status)
            each.exc_info = (ValueError, ValueError("x"), None)
            assert strangers.filter(each)
            assert each.exc_info is not None


def test_a_refused_request_gets_one_short_line_without_traceback() -> None:
    long = refusal("django.security.DisallowedHost", text="x" * 9999)
    long.exc_info = (ValueError, ValueError("x"), None)
    assert Strangers().filter(long)
    line = Line().format(long)
    assert line.endswith("x… (ValueError)")
    assert len(line) < MAX_MESSAGE + 50


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\n\tc", r"a\nb\r\n\tc"),
        ("\x1b[2J\x00\x7f\x85\x9b", r"\x1b[2J\x00\x7f\x85\x9b"),
        ("\u2028\u2029\u202e\u2066", r"\u2028\u2029\u202e\u2066"),
        ("Grüße, 世界 \\n", "Grüße, 世界 \\n"),
    ],
)
def test_a_record_becomes_one_printable_line(text: str, shown: str) -> None:
    assert Line("{message}", style="{").format(refusal("x", text=text)) == f"{shown}: /"


def test_lines_of_a_traceback_cannot_be_mistaken_for_records() -> None:
    error = ValueError("a\n2026-01-01 ERROR forged\x1b[31m")
    found = logging.LogRecord("x", logging.ERROR, "", 0, "m", (), (ValueError, error, None))
    assert Line().format(found).splitlines() == [
        "m",
        "    ValueError: a",
        "    2026-01-01 ERROR forged\\x1b[31m",
    ]


def test_quoted_text_is_ascii_and_short() -> None:
    assert quoted("ä\n'") == '"\\xe4\\n\'"'
    assert len(quoted("x" * 9999)) < 220

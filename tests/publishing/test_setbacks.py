"""Streams that fail by themselves: retried after growing pauses, and logged once."""

import pytest

from notifications.publishing.setbacks import LONGEST_PAUSE, Setbacks


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pauses_grow_to_a_limit() -> None:
    clock = Clock()
    setbacks = Setbacks(clock)
    pauses = []
    for _ in range(9):
        setbacks.failed(7, ValueError())
        begun = clock.now
        while 7 in setbacks.paused():
            clock.now += 0.5
        pauses.append(clock.now - begun)
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_recovered_stream_is_logged_and_its_pause_is_reset(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    clock = Clock()
    setbacks = Setbacks(clock)
    for _ in range(3):
        setbacks.failed("topic:a", ValueError("secret"))
    setbacks.succeeded(["topic:b", "topic:a"])
    assert setbacks.paused() == set()
    setbacks.failed("topic:a", ValueError("secret"))
    clock.now += 1
    assert setbacks.paused() == set()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "Publishing to stream topic:a failed (ValueError); it will be retried with growing pauses.",
        "Publishing to stream topic:a works again.",
        "Publishing to stream topic:a failed (ValueError); it will be retried with growing pauses.",
    ]


def test_a_stream_that_is_not_retried_is_forgotten() -> None:
    clock = Clock()
    setbacks = Setbacks(clock)
    setbacks.failed(7, ValueError())
    clock.now += 2 * LONGEST_PAUSE
    assert setbacks.paused() == set()
    setbacks.failed(7, ValueError())
    clock.now += 1.5
    assert 7 not in setbacks.paused()

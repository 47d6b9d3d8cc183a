"""Places of imported notifications: times that ascend, and marks with few receipts."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.adoption.history import best_mark, times
from notifications.streams.instants import MICROSECOND

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)

MOMENTS = st.lists(
    st.integers(0, 20).map(lambda number: NOON + number * MICROSECOND), max_size=30
).map(sorted)


@given(MOMENTS, st.integers(-20, 40))
def test_times_ascend_strictly_and_lie_before_what_is_there(stamps, after: int) -> None:
    before = NOON + after * MICROSECOND
    found = times(stamps, before)
    assert len(found) == len(stamps)
    assert all(one < other for one, other in pairwise([*found, before]))


def test_times_are_kept_where_nothing_is_in_the_way() -> None:
    stamps = [NOON, NOON + timedelta(hours=1), NOON + timedelta(days=1)]
    assert times(stamps, NOON + timedelta(days=2)) == stamps


def test_a_time_in_the_future_lies_before_the_present() -> None:
    assert times([NOON + timedelta(days=9)], NOON) == [NOON - MICROSECOND]


@pytest.mark.parametrize(
    ("unread", "mark"),
    [
        ([], 0),
        ([True, True], 0),
        ([False, False], 2),
        ([False, True, True], 1),
        ([True, False, False, False], 4),
        ([True, True, True, False], 0),
    ],
)
def test_the_mark_needs_few_receipts(unread: list[bool], mark: int) -> None:
    assert best_mark(unread) == mark


@given(st.lists(st.booleans(), max_size=12))
def test_no_other_mark_needs_fewer_receipts_than_half_of_all(unread: list[bool]) -> None:
    mark = best_mark(unread)
    receipts = sum(is_unread == (offset <= mark) for offset, is_unread in enumerate(unread, 1))
    assert receipts <= len(unread) / 2

"""Tests of the token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from notifications.protocol.bucket import Bucket


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    bucket = Bucket(2.0, 3.0, 0.0)
    assert [bucket.try_take(1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.try_take(1, 0.4)
    assert bucket.try_take(1, 0.5)
    assert not bucket.is_full(1.9)
    assert bucket.is_full(2.0)


def test_an_overdraft_is_refilled_first() -> None:
    bucket = Bucket(1.0, 2.0, 0.0)
    bucket.take(5.0, 0.0)
    assert bucket.left(0.0) == -3.0
    assert not bucket.try_take(1, 3.5)
    assert bucket.try_take(1, 4.0)


def test_a_clock_that_goes_back_adds_nothing() -> None:
    bucket = Bucket(1.0, 2.0, 10.0)
    bucket.take(2.0, 10.0)
    assert bucket.left(5.0) == 0.0
    assert bucket.left(10.0) == 0.0
    assert bucket.left(11.0) == 1.0


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 3)), max_size=50))
def test_no_more_is_taken_than_capacity_plus_refill(uses: list[tuple[float, float]]) -> None:
    bucket, now, given_away = Bucket(1.0, 4.0, 0.0), 0.0, 0.0
    for pause, amount in uses:
        now += pause
        given_away += amount if bucket.try_take(amount, now) else 0.0
        assert given_away <= 4.0 + now + 1e-6

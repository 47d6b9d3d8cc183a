"""Offsets and cursors: what they carry, how they sort, and what is refused."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.connect.reading import BEGINNING, TAIL
from notifications.streams.positions import Position
from notifications.transports.durable_streams.tokens import (
    FIRST_INTERVAL_AT,
    InvalidOffset,
    current_interval,
    next_cursor,
    offset_token,
    parse_offset,
)

epochs = st.text(string.ascii_letters + string.digits, min_size=1, max_size=16)
offsets = st.integers(0, 2**63 - 1)


@given(epochs, offsets)
def test_an_offset_carries_its_epoch(epoch: str, offset: int) -> None:
    token = offset_token(epoch, offset)
    assert parse_offset(token) == Position(epoch, offset)
    assert len(token) < 256
    assert not set(token) & set(",&=?/ ")
    assert token not in ("-1", "now")


@given(epochs, offsets, offsets)
def test_offsets_of_an_epoch_sort_as_texts(epoch: str, one: int, other: int) -> None:
    assert (offset_token(epoch, one) < offset_token(epoch, other)) == (one < other)


def test_the_ends_of_a_stream_have_names() -> None:
    assert parse_offset("-1") == BEGINNING
    assert parse_offset("now") == TAIL


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-fA-F]{14,18}_?\w{0,20}"))
def test_any_text_is_an_offset_of_ours_or_refused(text: str) -> None:
    try:
        position = parse_offset(text)
    except InvalidOffset:
        return
    assert text in ("-1", "now") or offset_token(*position) == text


@pytest.mark.parametrize(
    "text", ["", "-2", "0", "0_a", "NOW", "+000000000000001_a", "١" * 16 + "_a"]
)
def test_texts_that_resemble_offsets_are_refused(text: str) -> None:
    with pytest.raises(InvalidOffset):
        parse_offset(text)


def test_a_cursor_is_the_number_of_the_present_interval() -> None:
    assert next_cursor("", FIRST_INTERVAL_AT + 45) == 2
    assert next_cursor("1", FIRST_INTERVAL_AT + 45) == 2


@given(st.integers(0, 10**15 - 1), st.floats(1.8e9, 4e9))
def test_a_cursor_never_stays_or_goes_back(sent: int, now: float) -> None:
    cursor = next_cursor(str(sent), now)
    assert cursor > sent or cursor == current_interval(now) > sent
    assert cursor >= current_interval(now)


@given(st.text(max_size=30))
def test_cursors_that_cannot_be_ours_are_ignored(text: str) -> None:
    assert next_cursor(text if not text.isdecimal() else "", FIRST_INTERVAL_AT + 45) == 2

"""The ids of events hold positions, within a size that proxies accept."""

import json
from typing import Any

import pytest

from notifications.protocol.bodies import Chunk, Position
from notifications.protocol.commands import SubscribeRequest
from notifications.protocol.one_way import read_connect_request
from notifications.transports.event_ids import MAX_SIZE, EventIds, NotOurs, with_positions


def stamped(ids: EventIds, **moves: Any) -> Any:
    event = ids.stamp(Chunk(b"data: {}\n\n", moves)).decode()
    first, rest = event.split("\n", 1)
    assert rest == "data: {}\n\n"
    return json.loads(first.removeprefix("id: "))


def test_a_channel_that_has_ended_is_left_out() -> None:
    ids = EventIds()
    assert stamped(ids, a=Position("e", 1), b=Position("f", 2)) == {"a": ["e", 1], "b": ["f", 2]}
    assert stamped(ids, a=None) == {"b": ["f", 2]}
    assert stamped(ids, a=Position("g", 0)) == {"a": ["g", 0], "b": ["f", 2]}
    assert stamped(ids, a=Position(None, 1)) == {"a": ["g", 1], "b": ["f", 2]}


def test_a_channel_without_an_epoch_has_no_position() -> None:
    assert stamped(EventIds(), a=Position("", 0), b=Position(None, 4)) == {}


def test_an_event_that_moves_nothing_has_no_id() -> None:
    assert EventIds().stamp(Chunk(b"data: {}\n\n")) == b"data: {}\n\n"


def test_too_many_positions_leave_out_those_that_rest_longest() -> None:
    ids = EventIds()
    stamped(ids, **{f"group:{number}": Position("abcdefgh", 1) for number in range(1000)})
    found = stamped(ids, **{"group:3": Position(None, 2)})
    assert len(json.dumps(found, separators=(",", ":"))) <= MAX_SIZE
    assert found["group:3"] == ["abcdefgh", 2]
    assert "group:999" in found
    assert "group:0" not in found


def test_an_id_is_one_line_of_ascii() -> None:
    event = EventIds().stamp(Chunk(b"data: {}\n\n", {'user:é"\n\u2028\0': Position("e", 1)}))
    assert event.isascii()
    assert event.count(b"\n") == 3
    assert b"\0" not in event


def test_an_id_becomes_the_positions_of_a_connect_request() -> None:
    asked = json.loads(
        with_positions('{"token":"t","subs":{"a":{"recover":true,"offset":1}}}', '{"a":["e",5]}')
    )
    assert asked == {"token": "t", "subs": {"a": {"recover": True, "epoch": "e", "offset": 5}}}
    assert json.loads(with_positions("", "{}")) == {"subs": {}}


def test_an_id_with_too_long_names_is_not_ours() -> None:
    with pytest.raises(NotOurs):
        with_positions("", json.dumps({"x" * 256: ["e", 1]}))


#: JSON that is valid, but not for Python's own decoder.
EXTREME = [
    "1" * 5000,
    "-" + "9" * 5000,
    "1e9999",
    "[" * 900 + "]" * 900,
    r'"\u0000\ud83d\ude00"',
]


@pytest.mark.parametrize("data", EXTREME)
def test_the_other_fields_of_a_request_are_passed_on_as_they_are(data: str) -> None:
    asked = with_positions(f'{{"data":{data},"subs":{{"b":{{"data":{data}}}}}}}', '{"a":["e",5]}')
    request = read_connect_request(asked)
    assert bytes(request.data).decode() == data
    assert bytes(request.subs["b"].data).decode() == data
    assert request.subs["a"] == SubscribeRequest(recover=True, epoch="e", offset=5)


@pytest.mark.parametrize(
    "nothing", ["", " \r\n", b"", b"\t", "null", " null ", "{}", '{"subs":{}}']
)
def test_positions_are_added_to_an_empty_request(nothing: str | bytes) -> None:
    assert json.loads(with_positions(nothing, '{"a":["e",5]}'))["subs"].keys() == {"a"}

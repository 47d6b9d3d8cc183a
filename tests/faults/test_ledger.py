"""The ledger finds every kind of violation."""

import pytest

from tests.client import Received
from tests.faults.ledger import Seen, Verdict, judge, missing

COMMITTED = {"user:1": ["a 0", "a 1"], "user:2": ["b 0"], "broadcast": ["all 0", "all 1"]}


def received(channel: str, offset: int, title: str, at: float = 0.0) -> Received:
    return Received(channel, offset, {"title": title, "data": {"at": 0.0}}, at)


COMPLETE = [
    received("user:1", 1, "a 0"),
    received("broadcast", 4, "all 0"),
    received("user:1", 2, "a 1", at=1.5),
    received("broadcast", 5, "all 1"),
]


def test_a_complete_and_ordered_record_is_clean() -> None:
    verdict = judge(COMMITTED, [Seen("user:1", COMPLETE)])
    assert verdict == Verdict(5, 0, 0, 0, 0, 1.5, 4)
    assert verdict.delivered == "4/4"
    assert verdict.is_clean
    assert missing(COMMITTED, Seen("user:1", COMPLETE)) == set()


@pytest.mark.parametrize(
    ("publications", "lost", "duplicated", "misordered", "unexpected"),
    [
        (COMPLETE[:3], 1, 0, 0, 0),
        ([*COMPLETE, COMPLETE[3]], 0, 1, 1, 0),
        ([COMPLETE[2], COMPLETE[0], COMPLETE[1], COMPLETE[3]], 0, 0, 1, 0),
        ([received("user:1", 9, "a 0"), *COMPLETE[1:]], 0, 0, 1, 0),
        ([*COMPLETE, received("user:2", 1, "b 0")], 0, 0, 0, 1),
        ([*COMPLETE, received("broadcast", 6, "rolled back")], 0, 0, 1, 1),
    ],
)
def test_each_kind_of_violation_is_counted(
    publications: list[Received], lost: int, duplicated: int, misordered: int, unexpected: int
) -> None:
    verdict = judge(COMMITTED, [Seen("user:1", publications), Seen("user:1", COMPLETE)])
    assert verdict[1:5] == (lost, duplicated, misordered, unexpected)
    assert not verdict.is_clean
    assert len(missing(COMMITTED, Seen("user:1", publications))) == lost

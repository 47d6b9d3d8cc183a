"""``history``: pages, positions and their errors."""

import pytest

from notifications.conf import app_settings
from notifications.models import Notification, Stream
from notifications.publishing.notify import withdraw
from tests.api.backends import Caller
from tests.rooms import fill, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def caller() -> Caller:
    return Caller()


def offsets(caller: Caller, **request: object) -> list[int]:
    result = caller.result("history", channel="broadcast", **request)
    return [entry["offset"] for entry in result["publications"]]


def test_without_a_limit_only_the_position_is_read(caller: Caller) -> None:
    stream = fill("broadcast", 3)
    position = {"publications": [], "offset": 3, "epoch": stream.epoch}
    assert caller.result("history", channel="broadcast") == position


def test_pages_go_forward_and_backward(caller: Caller) -> None:
    epoch = fill("broadcast", 5).epoch
    assert offsets(caller, limit=2) == [1, 2]
    assert offsets(caller, limit=2, since={"offset": 2, "epoch": epoch}) == [3, 4]
    assert offsets(caller, limit=9, since={"offset": 5, "epoch": epoch}) == []
    assert offsets(caller, limit=2, reverse=True) == [5, 4]
    assert offsets(caller, limit=9, reverse=True, since={"offset": 3}) == [2, 1]


def test_a_page_has_a_maximum(caller: Caller, settings: object) -> None:
    settings.NOTIFICATIONS = {"PAGE_SIZE": 4}  # type: ignore[attr-defined]
    assert app_settings.PAGE_SIZE == 4
    fill("broadcast", 9)
    for limit in (-1, 100, 2**31 - 1):
        assert offsets(caller, limit=limit) == [1, 2, 3, 4]


def test_a_page_of_large_notifications_has_a_maximum_of_bytes(caller: Caller) -> None:
    fill("broadcast", 300)
    Notification.objects.update(body="☃" * 9_000, data={"text": "x" * 9_000})
    body = caller.post("/history", '{"channel": "broadcast", "limit": -1}').content
    assert 100_000 < len(body) < 2 * 2**20


def test_what_was_withdrawn_is_not_shown(caller: Caller) -> None:
    fill("broadcast", 3)
    withdraw(Notification.objects.filter(offset=2))
    assert offsets(caller, limit=9) == [1, 3]


@pytest.mark.parametrize(
    "since",
    [
        {"offset": 1},
        {"offset": 9},
        {"offset": 4, "epoch": "other"},
        {"offset": 2**63 - 1},
    ],
)
def test_a_position_that_is_gone_is_unrecoverable(caller: Caller, since: object) -> None:
    fill("broadcast", 5)
    Stream.objects.update(floor=2)
    assert caller.error("history", channel="broadcast", limit=9, since=since) == 112


def test_a_stream_that_nobody_has_used_is_empty(caller: Caller) -> None:
    own = f"user:{make_user().pk}"
    Stream.objects.all().delete()
    empty = {"publications": [], "offset": 0, "epoch": ""}
    assert caller.result("history", channel=own, limit=5) == empty
    assert caller.result("history", channel=own, limit=5, since={"offset": 0}) == empty


@pytest.mark.parametrize("since", [{"offset": 1}, {"offset": 0, "epoch": "other"}])
def test_p8_the_position_in_a_stream_that_is_deleted_is_unrecoverable(
    caller: Caller, since: object
) -> None:
    Stream.objects.all().delete()
    assert caller.error("history", channel="broadcast", limit=5, since=since) == 112


@pytest.mark.parametrize(
    ("channel", "code"), [("", 107), ("nonsense", 102), ("user:0", 102), ("other", 103)]
)
def test_channels_are_checked(caller: Caller, channel: str, code: int) -> None:
    assert caller.error("history", channel=channel, limit=1) == code

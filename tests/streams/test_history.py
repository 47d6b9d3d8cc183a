"""Pages of publications after a position, and tops."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_lazy

from notifications import broadcast
from notifications.models import Notification, Stream
from notifications.publishing.notify import withdraw
from notifications.streams import encoding, history
from notifications.streams.revisions import touch
from notifications.streams.rows import ensure
from notifications.texts import plain_json
from tests.rooms import fill, in_threads, make_user, plans, queries, reads_whole_table, write

pytestmark = pytest.mark.django_db(transaction=True)


def given(page: history.Page) -> list[int]:
    return [publication.offset for publication in page.publications]


def test_pages_follow_each_other_to_the_top() -> None:
    stream = fill("broadcast", 7)
    first = history.read_page(stream.pk, 0, 3)
    assert (given(first), first.offset, first.more) == ([1, 2, 3], 3, True)
    second = history.read_page(stream.pk, first.offset, 3)
    assert (given(second), second.offset, second.more) == ([4, 5, 6], 6, True)
    third = history.read_page(stream.pk, second.offset, 3)
    assert (given(third), third.offset, third.more) == ([7], 7, False)
    end = history.read_page(stream.pk, third.offset, 3)
    assert (given(end), end.offset, end.more) == ([], 7, False)


def test_a_page_that_ends_at_the_top_has_no_more() -> None:
    page = history.read_page(fill("broadcast", 3).pk, 0, 3)
    assert (given(page), page.offset, page.more) == ([1, 2, 3], 3, False)


def test_the_position_moves_over_entries_that_are_not_sent() -> None:
    stream = fill("broadcast", 6)
    rows = Notification.objects.filter(stream=stream)
    rows.filter(offset=2).update(expires_at=timezone.now() - timedelta(seconds=1))
    withdraw(rows.filter(offset=3))
    rows.filter(offset=1).delete()
    rows.filter(offset=6).update(expires_at=timezone.now() - timedelta(seconds=1))
    page = history.read_page(stream.pk, 0, 300)
    assert (given(page), page.offset, page.more) == ([4, 5], 6, False)
    # If more follows, the position does not pass the last publication of the page.
    page = history.read_page(stream.pk, 0, 1)
    assert (given(page), page.offset, page.more) == ([4], 4, True)


def test_the_position_of_an_empty_page_is_the_top() -> None:
    stream = fill("broadcast", 3)
    withdraw(Notification.objects.all())
    assert history.read_page(stream.pk, 1, 10) == history.Page([], 3, more=False)


def test_waiting_notifications_are_not_in_a_page() -> None:
    stream = fill("broadcast", 2)
    write("broadcast")
    assert given(history.read_page(stream.pk, 0, 10)) == [1, 2]


def test_a_deleted_stream_gives_an_empty_page() -> None:
    stream = fill("broadcast", 2)
    stream_id = stream.pk
    stream.delete()
    assert history.read_page(stream_id, 1, 10) == history.Page([], 1, more=False)


def test_a_publication_during_the_read_of_a_page_is_not_skipped() -> None:
    """The top is read first: otherwise the position could cover a publication that was not sent."""
    stream = fill("broadcast", 2)
    asked = 0

    def publish_between(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        nonlocal asked
        result = execute(sql, *args)
        if sql.startswith("SELECT"):
            asked += 1
            if asked == 1:
                # In another connection: on SQLite an open cursor sees rows of its own connection.
                in_threads(1, lambda n: broadcast("between"))
        return result

    with connection.execute_wrapper(publish_between):
        page = history.read_page(stream.pk, 0, 10)
    assert asked > 1
    assert Stream.objects.get(pk=stream.pk).top == 3
    assert set(given(page)) >= set(range(1, page.offset + 1))


def test_reading_back_is_newest_first_and_stays_above_since() -> None:
    stream = fill("broadcast", 6)
    found = history.read_back(stream.pk, before=6, since=2, limit=2)
    assert [publication.offset for publication in found] == [5, 4]
    found = history.read_back(stream.pk, before=6, since=2, limit=10)
    assert [publication.offset for publication in found] == [5, 4, 3]


def test_many_ranges_are_read_together() -> None:
    one, other = fill("broadcast", 250), fill("staff", 5)
    withdraw(Notification.objects.filter(stream=other, offset=2))
    ranges = [history.Range(one.pk, number, number + 2) for number in range(150)]
    ranges += [history.Range(other.pk, 0, 3), history.Range(other.pk, 5, 9), ranges[0]]
    found: dict[history.Range, list[encoding.Publication]] = {}
    assert len(queries(lambda: found.update(history.read_ranges(ranges)))) == 2
    assert found.keys() == set(ranges)
    for number in range(150):
        given = [p.offset for p in found[history.Range(one.pk, number, number + 2)]]
        assert given == [number + 1, number + 2]
    assert [p.offset for p in found[history.Range(other.pk, 0, 3)]] == [1, 3]
    assert found[history.Range(other.pk, 5, 9)] == []
    assert found[ranges[0]][0] == history.read_page(one.pk, 0, 1).publications[0]
    assert history.read_ranges([]) == {}
    plan = plans(lambda: history.read_ranges(ranges))
    assert not reads_whole_table(plan), plan


def test_tops_have_epoch_offset_and_revision() -> None:
    streams = ensure(f"topic:{n}" for n in range(1500))
    fill("topic:7", 3)
    touch(["topic:7"])
    ids = [stream.pk for stream in streams.values()]
    tops = history.read_tops([*ids, max(ids) + 1])
    assert tops.keys() == set(ids)
    seven = streams["topic:7"]
    assert tops[seven.pk][:3] == (seven.epoch, 3, 1)
    assert history.read_tops([]) == {}


def test_content_has_no_empty_values() -> None:
    notification = broadcast("hello")
    content = encoding.content(notification)
    assert content.keys() == {"id", "kind", "level", "title", "created"}
    assert content["created"].endswith("Z")


def test_content_is_the_same_before_and_after_reloading() -> None:
    actor = make_user("a", first_name="Ada", last_name="L")
    data = {"price": Decimal("1.10"), "when": timezone.now(), "name": gettext_lazy("Notifications")}
    fresh = Notification(
        stream=ensure(["broadcast"])["broadcast"],
        offset=1,
        title="hello",
        data=plain_json(data),
        actor=actor,
        published_at=timezone.now(),
        expires_at=timezone.now() + timedelta(days=1),
    )
    fresh.save()
    stored = Notification.objects.select_related("actor").get(pk=fresh.pk)
    sent = msgspec.json.decode(encoding.publication(stored).data)
    # Decoded, because PostgreSQL sorts the keys of an object.
    assert msgspec.json.decode(encoding.publication(fresh).data) == sent
    assert sent["actor"] == {"id": str(actor.pk), "name": "Ada L"}
    assert sent["data"]["price"] == "1.10"


def test_an_actor_without_a_full_name_is_named_by_username() -> None:
    assert encoding.content(broadcast("x", actor=make_user("ada")))["actor"]["name"] == "ada"


def test_a_waiting_notification_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="no offset yet"):
        encoding.publication(write("broadcast"))


def test_content_that_cannot_be_encoded_is_left_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = fill("broadcast", 3)
    original = encoding.content

    def spoil(notification: Notification) -> dict[str, Any]:
        return {"x": object()} if notification.offset == 2 else original(notification)

    monkeypatch.setattr(encoding, "content", spoil)
    page = history.read_page(stream.pk, 0, 10)
    assert (given(page), page.offset) == ([1, 3], 3)
    assert "is skipped" in caplog.text


def test_reading_after_a_position_uses_the_index() -> None:
    stream = fill("broadcast", 2000)
    fill("staff", 2000)
    plan = plans(lambda: history.read_page(stream.pk, 1990, 10))
    assert "notification_offset" in plan or "stream_id=? AND offset>?" in plan
    assert not reads_whole_table(plan)


class Lagging:
    """A router that reads from a lagging replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_history_is_not_read_from_a_replica(settings: Any) -> None:
    """With a lagging replica, positions would move over entries that it lacks (P1)."""
    stream = fill("broadcast", 3)
    settings.DATABASE_ROUTERS = [f"{__name__}.Lagging"]
    assert given(history.read_page(stream.pk, 0, 10)) == [1, 2, 3]
    entry = history.Range(stream.pk, 1, 3)
    assert [each.offset for each in history.read_ranges([entry])[entry]] == [2, 3]
    assert len(history.read_back(stream.pk, 4, 0, 10)) == 3

"""``notify`` and ``broadcast``: arguments, transactions, recipients, audiences and keys."""

import importlib
import pkgutil
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import ValidationError
from django.db import connections, transaction
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

import notifications
from notifications import abroadcast, anotify, broadcast, notify
from notifications.models import Notification, Stream
from notifications.publishing import channels, writing
from notifications.publishing import hints as publishing_hints
from notifications.publishing import notify as publishing
from notifications.publishing.notify import originals
from notifications.streams import encoding, members
from notifications.streams import names as stream_names
from notifications.streams.rows import ensure
from tests.rooms import hints, in_threads, make_old_users, make_user, queries, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)


# Public names


def test_public_names() -> None:
    names = {
        "abroadcast": publishing,
        "anotify": publishing,
        "apresence": members,
        "apresence_stats": members,
        "apublish": channels,
        "broadcast": publishing,
        "notify": publishing,
        "presence": members,
        "presence_stats": members,
        "publish": channels,
    }
    assert notifications.__all__ == list(names)
    for name, module in names.items():
        assert getattr(notifications, name) is getattr(module, name)
        assert name in dir(notifications)
    with pytest.raises(AttributeError, match="notifi"):
        getattr(notifications, "notifi")  # noqa: B009 - mypy would refuse the name


def test_no_submodule_hides_a_public_name() -> None:
    submodules = {module.name for module in pkgutil.iter_modules(notifications.__path__)}
    assert submodules.isdisjoint(notifications.__all__)
    for name in submodules - {"migrations", "management"}:
        importlib.import_module(f"notifications.{name}")
    for name in notifications.__all__:
        assert callable(getattr(notifications, name))


@pytest.mark.parametrize("name", ["notify", "anotify", "broadcast", "abroadcast", "publish"])
def test_an_unknown_option_raises_before_anything_is_written(name: str) -> None:
    function: Any = getattr(publishing, name)
    arguments = {
        "notify": (make_user(), "hello"),
        "anotify": (make_user("other"), "hello"),
        "publish": ("topic:a", "hello"),
    }.get(name, ("hello",))
    call = async_to_sync(function) if name.startswith("a") else function
    with hints() as sent, pytest.raises(TypeError, match=f"{name.lstrip('a')}.*'levle'"):
        call(*arguments, levle="success")
    assert sent == []
    assert not Notification.objects.exists()


def test_only_notify_reports_progress() -> None:
    with pytest.raises(TypeError, match=r"broadcast\(\) .* 'progress'"):
        broadcast("hello", progress=print)  # type: ignore[call-arg]
    assert not Notification.objects.exists()


# Transactions


def test_a_rolled_back_notification_leaves_no_row_and_no_frame() -> None:
    user = make_user()
    with hints() as sent, rolled_back():
        notify(user, "never")
        broadcast("never")
    assert sent == []
    assert not Notification.objects.exists()


def test_a_rolled_back_savepoint_discards_only_its_own_notifications() -> None:
    user = make_user()
    with hints() as sent, transaction.atomic():
        notify(user, "kept")
        with rolled_back():
            notify(user, "never")
        assert sent == []
    assert len(sent) == 1
    assert [n.title for n in Notification.objects.all()] == ["kept"]


def test_a_hint_is_sent_after_the_commit_with_the_content() -> None:
    user = make_user()
    with hints() as sent:
        with transaction.atomic():
            (pk,) = notify(user, "hello", url="/orders/7/", data={"n": 1})
            assert Notification.objects.get(pk=pk).offset is None
            assert sent == []
        stream = Stream.objects.get(name=f"user:{user.pk}")
        ((name, message),) = sent
    assert name == stream.name
    assert (message["epoch"], message["offset"]) == (stream.epoch, 1)
    assert b'"title":"hello"' in message["data"]
    assert b'"url":"/orders/7/"' in message["data"]


def test_an_error_in_another_callback_does_not_stop_the_hint() -> None:
    def publish() -> None:
        with transaction.atomic():
            broadcast("hello")
            transaction.on_commit(lambda: 1 // 0)

    with hints() as sent, pytest.raises(ZeroDivisionError):
        publish()
    assert len(sent) == 1


# Recipients


def test_recipients_may_be_a_user_a_list_or_a_queryset() -> None:
    users = [make_user("a"), make_user("b")]
    queryset = get_user_model().objects.order_by("pk")
    lazy: Any = SimpleLazyObject(lambda: users[0])
    for to in (users, iter(users), queryset, queryset[:2], queryset.values("username")):
        ids = notify(to, "hello")
        names = [Notification.objects.get(pk=pk).stream_name for pk in ids]
        assert names == [f"user:{user.pk}" for user in users]
    assert len(notify(lazy, "hello")) == 1
    assert notify([], "hello") == []


def test_duplicate_recipients_get_one_notification() -> None:
    user = make_user()
    for name in "ab":
        user.groups.add(Group.objects.create(name=name))
    twice = get_user_model().objects.filter(groups__name__in="ab")
    assert twice.count() == 2
    assert len(notify(twice, "hello")) == 1
    assert len(notify([user, user], "hello")) == 1


@pytest.mark.parametrize(
    "to",
    [None, 7, "everyone", b"x", {"a": 1}, [7], [None], AnonymousUser(), ["a"], Group.objects],
)
def test_invalid_recipients_raise_value_error_and_write_nothing(to: Any) -> None:
    with pytest.raises(ValueError, match=r"^to: "):
        notify(to, "hello")
    assert not Notification.objects.exists()


def test_one_invalid_recipient_raises_before_anything_is_written() -> None:
    user, unsaved = make_user(), get_user_model()(username="new")
    with pytest.raises(ValueError, match="not saved"):
        notify([user, unsaved], "hello")
    with pytest.raises(ValueError, match="queryset of users"):
        notify(Group.objects.all(), "hello")  # type: ignore[arg-type]
    assert not Notification.objects.exists()


def test_ten_thousand_recipients_take_a_bounded_number_of_statements() -> None:
    users = get_user_model().objects.order_by("pk")
    make_old_users(10_000)
    progress: list[int] = []
    ids: list[int] = []

    def call() -> None:
        with transaction.atomic():
            ids.extend(notify(users, "hello", progress=progress.append))

    statements = queries(call)
    chunks = 10_000 // writing.CHUNK
    assert progress == [writing.CHUNK * (n + 1) for n in range(chunks)]
    # As in test_sequencing, and the creation of the streams.
    assert len(statements) <= 15 * chunks
    assert len(ids) == len(set(ids)) == 10_000
    assert set(Notification.objects.values_list("offset", flat=True)) == {1}


def test_progress_counts_recipients_after_the_commit() -> None:
    users = make_old_users(writing.CHUNK + 1)
    done: list[tuple[int, int]] = []

    def progress(count: int) -> None:
        done.append((count, Notification.objects.published().count()))

    with hints(), transaction.atomic():
        notify(users, "hello", progress=progress)
        assert done == []
    assert done == [
        (writing.CHUNK, writing.CHUNK),
        (writing.CHUNK + 1, writing.CHUNK + 1),
    ]
    with rolled_back():
        notify(users, "never", progress=progress)
    assert len(done) == 2


def test_the_cost_of_a_broadcast_does_not_depend_on_the_number_of_users() -> None:
    broadcast("the first one makes the stream")
    few = queries(lambda: broadcast("hello"))
    make_old_users(1000)
    assert len(queries(lambda: broadcast("hello"))) == len(few) <= 7


def test_content_is_encoded_once_per_chunk_of_recipients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[Notification] = []
    original = encoding.encode_content

    def count(notification: Notification) -> bytes:
        encoded.append(notification)
        return original(notification)

    monkeypatch.setattr(writing, "encode_content", count)
    monkeypatch.setattr(publishing_hints, "encode_content", count)
    users = make_old_users(2 * writing.CHUNK)
    with hints() as sent, transaction.atomic():
        notify(users, "hello")
    assert {message["type"] for _, message in sent} == {"notifications.publications"}
    assert len(encoded) == 2


# Audiences


def test_broadcasts_go_to_shared_streams() -> None:
    group = Group.objects.create(name="a")
    names: dict[Any, str] = {
        "everyone": "broadcast",
        "broadcast": "broadcast",
        "staff": "staff",
        "topic:a": "topic:a",
        f"group:{group.pk}": f"group:{group.pk}",
        group: f"group:{group.pk}",
    }
    for to, name in names.items():
        notification = broadcast("hello", to=to)
        assert notification.stream_name == name
        assert notification.offset is not None
        assert notification.kind == "broadcast"


@pytest.mark.parametrize(
    "to", ["", "all", "user:7", "topic:", "topic:a b", "group:999999", None, 7, Group(name="new")]
)
def test_invalid_audiences_raise_value_error(to: Any) -> None:
    with pytest.raises(ValueError, match=r"^to: "):
        broadcast("hello", to=to)
    assert not Notification.objects.exists()


async def test_asynchronous_code_has_the_same_functions() -> None:
    user = await get_user_model().objects.acreate(username="a")
    assert len(await anotify(user, "hello", level="success")) == 1
    assert (await abroadcast("hello", to="staff")).stream_name == "staff"
    with pytest.raises(ValidationError):
        await anotify(user, "")
    await sync_to_async(connections.close_all)()


# Content


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", None),
        ("title", 7),
        ("title", " \n\t\xa0"),
        ("title", "\u200b\ufeff"),
        ("title", "\x07\x1b\u200f\u202e\u2066"),
        ("title", "\u3164\u2800\ufe0f"),
        ("title", mark_safe("\u200b")),
        ("title", b"bytes"),
        ("title", "a" * 201),
        ("title", "a\x00b"),
        ("title", "\ud800"),
        ("body", "a" * 10_001),
        ("body", None),
        ("body", "\x00"),
        ("url", "javascript:alert(1)"),
        ("url", "//evil.example"),
        ("url", "/" + "a" * 2000),
        ("kind", "Not A Kind"),
        ("kind", "a..b"),
        ("level", "loud"),
        ("data", ["list"]),
        ("data", {"a": float("nan")}),
        ("data", {"a": object()}),
        ("data", {"a": "\x00"}),
        ("data", {"a": "\ud800"}),
        ("data", {"a": "x" * 20_000}),
        ("data", {"a": [{"b": 2**53}]}),
        ("data", {"a": -(2**53)}),
        ("data", {"a": float("-inf")}),
        ("data", {"a": {1, 2}}),
        ("data", {"a": b"bytes"}),
        ("data", {"a": AnonymousUser()}),
        ("data", {"\x00": 1}),
        ("data", {"\ud800": 1}),
        ("data", {("a", "b"): 1}),
        ("data", {1: "a", "1": "b"}),
        ("data", {"at": datetime(2026, 1, 1, tzinfo=UTC).timetz()}),
        ("actor", "me"),
        ("actor", AnonymousUser()),
        ("key", "a" * 201),
        ("key", "a\x00"),
        ("key", 7),
        ("publish_at", datetime(2026, 1, 1)),  # noqa: DTZ001
        ("publish_at", "tomorrow"),
        ("expires_at", datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_invalid_content_is_named_and_writes_nothing(field: str, value: Any) -> None:
    arguments = {"title": "hello", field: value}
    with pytest.raises(ValidationError) as caught:
        broadcast(**arguments)
    assert list(caught.value.message_dict) == [field]
    assert caught.value.messages[0]
    assert not Notification.objects.exists()


def test_deeply_nested_data_is_a_validation_error() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    try:
        with pytest.raises(ValidationError, match="not JSON"):
            broadcast("hello", data=deep)
    finally:
        while deep:  # freeing it at once would overflow the stack
            deep = deep["a"]


def test_all_invalid_arguments_are_reported_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        broadcast("", level="loud", url="javascript:x", data=7)  # type: ignore[arg-type]
    assert sorted(caught.value.message_dict) == ["data", "level", "title", "url"]


def test_content_at_its_limits_is_accepted() -> None:
    user = make_user()
    data = {"text": "\\u0000 “x” \U0001f600", "big": 2**53 - 1, "when": timezone.now(), "n": None}
    notification = broadcast(
        gettext_lazy("Notifications"),
        body="b" * 10_000,
        url="https://example.org/?a=1#b",
        kind="order.shipped",
        level="error",
        data=data,
        actor=user,
        key="k" * 200,
        expires_at=timezone.now() + timedelta(hours=1),
    )
    notification = Notification.objects.get(pk=notification.pk)
    assert notification.title == "Notifications"
    assert notification.data["text"] == data["text"]
    assert notification.data["big"] == 2**53 - 1
    assert notification.actor == user


# Keys


def test_the_same_key_returns_the_first_notification() -> None:
    users = [make_user("a"), make_user("b")]
    first = broadcast("one", key="k")
    assert broadcast("two", key="k").pk == first.pk
    assert broadcast("other", key="k", to="staff").pk != first.pk
    (one,) = notify(users[1], "one", key="k")
    both = notify(users, "two", key="k")
    assert both[1] == one
    assert both[0] != one
    with hints() as sent:
        assert notify(users, "three", key="k") == both
    assert sent == []


def test_an_empty_key_is_no_key() -> None:
    assert broadcast("one", key="").pk != broadcast("two", key="").pk


def test_the_same_key_from_eight_threads_is_published_once() -> None:
    users = [make_user(f"u{n}") for n in range(3)]

    def publish(number: int) -> list[int]:
        to = users if number % 2 else users[::-1]
        return [broadcast("hello", key="k").pk, *notify(to, "hello", key="k")]

    # Some of these were returned before placing decided which one is kept.
    assert len({frozenset(originals(ids)) for ids in in_threads(8, publish)}) == 1
    assert Notification.objects.filter(duplicate_of=None).count() == 4
    assert set(Notification.objects.published().values_list("offset", flat=True)) == {1}
    assert Notification.objects.published().count() == 4


# By name


def test_publishing_to_a_stream_by_name() -> None:
    pk = publishing.publish("topic:a", "hello", level="success")
    assert Notification.objects.get(pk=pk).offset == 1
    with pytest.raises(stream_names.UnknownStream):
        publishing.publish("nowhere", "hello")
    with pytest.raises(TypeError, match=r"publish\(\) .* 'offset'"):
        publishing.publish("topic:a", "hello", offset=7)  # type: ignore[call-arg]


def test_withdrawing_cancels_waiting_and_hides_published_notifications() -> None:
    shown = broadcast("shown")
    waiting = broadcast("waiting", publish_at=timezone.now() + timedelta(hours=1))
    assert publishing.withdraw(Notification.objects.all()) == 2
    assert not Notification.objects.visible().exists()
    assert not Notification.objects.waiting().exists()
    shown.refresh_from_db()
    waiting.refresh_from_db()
    assert (shown.offset, waiting.offset) == (1, None)


class Lagging:
    """A router that reads from a lagging replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_withdrawing_does_not_read_from_a_replica(settings: Any) -> None:
    """With a lagging replica, a notification sent just now could not be withdrawn."""
    pk = publishing.publish("broadcast", "a mistake")
    settings.DATABASE_ROUTERS = [f"{__name__}.Lagging"]
    assert publishing.withdraw(Notification.objects.filter(pk=pk)) == 1


def test_a_broadcast_is_returned_as_the_orm_reads_it() -> None:
    ensure(["broadcast"])
    options: dict[str, Any] = {"body": "Über", "data": {"a": [1, None]}, "actor": make_user()}
    returned = broadcast("hello", expires_at=timezone.now() + timedelta(days=1), **options)
    read = Notification.objects.select_related("stream").get(pk=returned.pk)
    for one, other in ((returned, read), (returned.stream, read.stream)):
        assert one is not None
        assert other is not None
        assert {**one.__dict__, "_state": None} == {**other.__dict__, "_state": None}
    assert returned._state.adding is False
    with transaction.atomic():
        unplaced = broadcast("hello", to="topic:new")
    assert (unplaced.stream, unplaced.stream_name) == (None, "topic:new")

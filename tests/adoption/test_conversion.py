"""What becomes of a notification of django-notifications, and what is counted as changed."""

import json
import logging
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType

from notifications.adoption.conversion import convert, references
from notifications.adoption.old_rows import OldRow
from notifications.adoption.reports import Report
from notifications.adoption.things import Reference, find_things
from notifications.conf import app_settings
from notifications.models import Notification
from tests.adoption.old_table import BEGINNING
from tests.rooms import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return make_user("ada")


def refer(thing: Any) -> dict[str, Any]:
    return {"type": ContentType.objects.get_for_model(thing).pk, "id": str(thing.pk)}


def converted(ada: Any, **columns: Any) -> tuple[Notification, Report]:
    actor = refer(ada)
    values = {
        "id": 1,
        "recipient": ada.pk,
        "unread": True,
        "timestamp": BEGINNING,
        "actor_type": actor["type"],
        "actor_id": actor["id"],
        "verb": "waved",
        **columns,
    }
    row = OldRow(**values)
    report = Report()
    return convert(row, find_things("default", references([row])), report), report


def test_a_plain_one_is_changed_in_nothing(ada) -> None:
    notification, report = converted(ada)
    assert (notification.title, notification.body, notification.level) == ("ada waved", "", "info")
    assert notification.actor == ada
    assert notification.data == {"verb": "waved"}
    assert report == Report()


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (None, {}),
        ("", {}),
        ("null", {}),
        ("{}", {}),
        ('{"colour": "red"}', {"colour": "red"}),
        ({"colour": "red"}, {"colour": "red"}),
        ("[1, 2]", {"data": [1, 2]}),
        ('"red"', {"data": "red"}),
        ("no JSON", {"data": "no JSON"}),
        ('{"verb": "theirs", "size": 1}', {"data": {"verb": "theirs", "size": 1}}),
    ],
)
def test_data_of_the_host_are_kept(ada, data: Any, kept: dict[str, Any]) -> None:
    notification, report = converted(ada, data=data)
    assert notification.data == {"verb": "waved", **kept}
    assert report.data == 0


@pytest.mark.parametrize("data", ['{"a": NaN}', f'{{"a": {2**60}}}', '{"a": "\\ud800"}'])
def test_data_that_no_client_could_read_are_left_out_and_counted(ada, data: str) -> None:
    notification, report = converted(ada, data=data)
    assert notification.data == {"verb": "waved"}
    assert report.data == 1


def test_data_that_no_parser_takes_are_kept_as_text(ada) -> None:
    data = "[" * 9000
    notification, report = converted(ada, data=data)
    assert notification.data == {"verb": "waved", "data": data}
    assert report.data == 0


def test_a_name_too_large_for_data_is_cut(ada, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group.objects.create(name="Friends")
    kind = refer(group)
    monkeypatch.setattr(Group, "__str__", lambda group: "x" * 1_000_000)
    notification, _ = converted(ada, target_type=kind["type"], target_id=kind["id"])
    assert len(json.dumps(notification.data)) <= app_settings.MAX_DATA_SIZE
    assert notification.data["target"]["type"] == "auth.group"


def test_data_that_are_too_large_are_left_out_and_counted(ada) -> None:
    notification, report = converted(ada, data=json.dumps({"a": "x" * app_settings.MAX_DATA_SIZE}))
    assert notification.data == {"verb": "waved"}
    assert report.data == 1


def test_long_texts_are_cut_and_counted(ada) -> None:
    notification, report = converted(ada, description="x" * 10_001)
    assert notification.body == "x" * 9_999 + "…"
    assert (report.cut, report.long) == (1, 0)
    notification, report = converted(ada, verb="v" * 250)
    assert len(notification.title) == 200
    assert notification.body == f"ada {'v' * 250}"
    assert (report.cut, report.long) == (0, 1)


@pytest.mark.parametrize("verb", ["wa\x00ved", "waved\ud800", "wa\nved"])
def test_what_cannot_be_stored_is_not_tried(ada, verb: str) -> None:
    notification, _ = converted(ada, verb=verb, description=verb)
    notification.clean_fields(exclude={"stream", "actor"})
    json.dumps(notification.data).encode()


def test_there_is_always_something_to_see(ada) -> None:
    group = Group.objects.create(name=" ")
    kind = refer(group)
    notification, _ = converted(ada, actor_type=kind["type"], actor_id=kind["id"], verb=" ")
    assert notification.title == "Notification"


class TestObjects:
    def test_what_is_gone_is_named_by_what_it_was(self, ada) -> None:
        kind = refer(ada)["type"]
        notification, report = converted(ada, actor_id="999", target_type=kind, target_id="x")
        assert notification.title == "user 999 waved user x"
        assert notification.actor is None
        assert notification.data["actor"] == {"type": "auth.user", "id": "999", "name": "user 999"}
        assert report.unnamed == 2

    def test_an_app_that_is_gone(self, ada) -> None:
        kind = ContentType.objects.create(app_label="gone", model="thing")
        notification, report = converted(ada, actor_type=kind.pk, actor_id="7")
        assert notification.title == "thing 7 waved"
        assert notification.data["actor"]["type"] == "gone.thing"
        assert report.unnamed == 1

    def test_a_content_type_that_is_gone(self, ada) -> None:
        notification, report = converted(ada, actor_type=99_999, actor_id="7")
        assert notification.title == "object 7 waved"
        assert report.unnamed == 1

    def test_a_name_that_raises(self, ada, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(User, "__str__", lambda user: user.no_such_thing)
        notification, report = converted(ada)
        assert notification.title == f"user {ada.pk} waved"
        assert notification.actor == ada
        assert report.unnamed == 1

    def test_an_address_that_raises(self, ada, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            User, "get_absolute_url", lambda user: user.no_such_thing, raising=False
        )
        kind = refer(ada)
        notification, _ = converted(ada, target_type=kind["type"], target_id=kind["id"])
        assert notification.url == ""

    @pytest.mark.parametrize("wrong", ["9" * 30, "-" + "9" * 30])
    def test_a_key_that_no_database_takes_disturbs_no_other(self, ada, wrong: str) -> None:
        kind = refer(ada)["type"]
        right = Reference(kind, str(ada.pk))
        things = find_things("default", [right, Reference(kind, wrong)])
        assert things[right].user == ada
        assert things[Reference(kind, wrong)].name == f"user {wrong}"

    def test_one_object_may_be_written_in_two_ways(self, ada) -> None:
        kind = refer(ada)["type"]
        two = [Reference(kind, str(ada.pk)), Reference(kind, f"0{ada.pk}")]
        assert {thing.user for thing in find_things("default", two).values()} == {ada}

    def test_each_model_is_asked_once(self, django_assert_num_queries) -> None:
        users = [make_user(f"user{number}") for number in range(5)]
        wanted = {Reference(**refer(user)) for user in users}
        # Content types and users, and savepoints around finding and naming the users.
        with django_assert_num_queries(2 + 4):
            things = find_things("default", wanted)
        assert {thing.name for thing in things.values()} == {str(user) for user in users}

    def test_a_table_that_is_gone(
        self, ada, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        group = Group.objects.create(name="Friends")
        kind = refer(group)

        def fail(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError("no table")

        monkeypatch.setattr(type(Group._base_manager), "filter", fail)
        with caplog.at_level(logging.WARNING):
            things = find_things("default", [Reference(**kind)])
        assert [thing.name for thing in things.values()] == [f"group {group.pk}"]
        assert "auth.Group cannot be read" in caplog.text

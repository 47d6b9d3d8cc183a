"""Values of hosts: subclasses of ``str``, lazy texts, and ``data`` that is not plain JSON."""

import enum
import json
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import models
from django.template import engines
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy, override
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications import broadcast, inbox, notify, signals
from notifications.admin import forms as admin
from notifications.models import Notification
from notifications.publishing.notify import publish
from notifications.streams import encoding, subscriptions
from notifications.texts import MAX_DEPTH, is_blank, one_line, plain, plain_json
from pushsite import forms as site
from tests.rooms import hints, make_user

pytestmark = pytest.mark.django_db(transaction=True)


class Named(str):
    """A text whose ``str()`` differs from its value."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Choice(models.TextChoices):
    WORD = "word", gettext_lazy("Word")


class Size(models.IntegerChoices):
    SMALL = 1


class Plain(str, enum.Enum):  # noqa: UP042 - its str() is the name of the member
    WORD = "word"


class Strict(enum.StrEnum):
    WORD = "word"


def rendered(word: str) -> Any:
    return engines["django"].from_string("{{ word }}").render({"word": word})


#: The text “word” in each type of text.
KINDS: dict[str, Callable[[], Any]] = {
    "mark_safe": lambda: mark_safe("word"),
    "format_html": lambda: format_html("{}", "word"),
    "rendered": lambda: rendered("word"),
    "lazy": lambda: format_lazy("{}", "word"),
    "lazy object": lambda: SimpleLazyObject(lambda: "word"),
    "lazy safe object": lambda: SimpleLazyObject(lambda: mark_safe("word")),
    "subclass": lambda: Named("word"),
    "TextChoices": lambda: Choice.WORD,
    "str and Enum": lambda: Plain.WORD,
    "StrEnum": lambda: Strict.WORD,
}


@pytest.fixture(params=KINDS)
def word(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def sent_by(function: Callable[[], object]) -> list[dict[str, Any]]:
    """The contents of the hints that are sent while ``function`` runs."""
    with hints() as sent:
        function()
    return [msgspec.json.decode(message["data"]) for _, message in sent if "data" in message]


def test_every_type_of_text_becomes_plain_text_in_all_fields(word: Any) -> None:
    user = make_user("ada")
    (content,) = sent_by(
        lambda: notify(
            user,
            word,
            body=word,
            url=word,
            kind=word,
            key=word,
            data={word: [word, {"in": {word: (word,)}}]},
            actor=user,
        )
    )
    row = Notification.objects.select_related("actor").get(pk=content["id"])
    data = {"word": ["word", {"in": {"word": ["word"]}}]}
    for name in ("title", "body", "url", "kind"):
        assert content[name] == getattr(row, name) == "word"
    assert (row.key, row.data, content["data"]) == ("word", data, data)
    assert msgspec.json.decode(encoding.publication(row).data) == content
    assert notify(user, "again", key=word) == [row.pk]


def test_every_type_of_text_is_accepted_for_audiences_and_levels(word: Any, settings: Any) -> None:
    # A lazy text in settings is not a ``str`` yet when they are read.
    settings.NOTIFICATIONS = {"TOPICS": [word if issubclass(type(word), str) else "word"]}
    user = make_user("ada")
    name = format_lazy("topic:{}", "word")
    level: Any = mark_safe("error")
    audiences: list[Any] = [mark_safe("staff"), SimpleLazyObject(lambda: "everyone"), name]
    for to in audiences:
        assert broadcast("hello", to=to, level=level).level == "error"
        signals.push.send(None, to=to, title="hello")
    assert Notification.objects.get(pk=publish(name, "hello")).stream_name == "topic:word"  # type: ignore[arg-type]
    assert [topic.channel for topic in inbox.topics(user)] == ["topic:word"]
    with hints() as sent:
        assert inbox.join(user, mark_safe("topic:word"))
    assert b'"topic:word"' in b"".join(message.get("data", b"") for _, message in sent)
    assert subscriptions.topics(user.pk) == 1


def test_every_type_of_text_is_accepted_as_the_name_of_an_actor(
    word: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user("ada")
    monkeypatch.setattr(get_user_model(), "get_full_name", lambda self: word)
    (content,) = sent_by(lambda: notify(user, "hello", actor=user))
    assert content["actor"] == {"id": str(user.pk), "name": "word"}
    assert type(encoding.describe_user(user)["name"]) is str


@pytest.mark.parametrize("name", ["\ud800", 7, "\x00"])
def test_a_name_that_cannot_be_encoded_is_replaced(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user("ada")
    monkeypatch.setattr(get_user_model(), "get_full_name", lambda self: name)
    (content,) = sent_by(lambda: notify(user, "hello", actor=user))
    assert content["actor"]["name"] in {"?", "7", "\x00"}


def test_a_name_that_raises_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user("ada")
    monkeypatch.setattr(get_user_model(), "get_full_name", lambda self: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        notify(user, "hello", actor=user)
    assert not Notification.objects.exists()


def test_lazy_texts_are_evaluated_in_the_language_of_the_caller() -> None:
    with override("de"):
        row = broadcast(gettext_lazy("Monday"), data={"day": gettext_lazy("Monday")})
    assert (row.title, row.data) == ("Montag", {"day": "Montag"})


def test_the_notify_signal_accepts_lazy_and_safe_texts() -> None:
    user = make_user("ada")
    (content,) = sent_by(
        lambda: signals.notify.send(
            user,
            recipient=user,
            verb=gettext_lazy("Monday"),
            target=mark_safe("a post"),
            amount=Decimal("1.10"),
        )
    )
    assert content["title"] == "ada Monday a post"
    assert content["data"] == {
        "verb": "Monday",
        "target": {"name": "a post"},
        "amount": "1.10",
    }


# Titles


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\v", "\x85", "\u2028", " \n\n\t "])
def test_a_title_is_one_line(line_break: str) -> None:
    row = broadcast(f"{line_break}two{line_break}lines{line_break}")
    assert row.title == "two lines"


@given(st.text())
def test_one_line_has_no_line_breaks_and_keeps_all_other_characters(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert "".join(line.split()) == "".join(text.split())
    assert is_blank(line) == is_blank(text)


@pytest.mark.parametrize("text", ["a", "7", "…", "ש", "\u200fשלום", "👍", "\U0001fae8", "e\u0301"])
def test_a_title_with_a_visible_character_is_accepted(text: str) -> None:
    assert broadcast(text).title == text


@pytest.mark.parametrize("form", [admin.ComposeForm, site.BroadcastForm])
def test_forms_accept_the_same_titles(form: Any) -> None:
    prefix = f"{form.prefix}-" if form.prefix else ""
    typed = {"title": "\u200b\ufeff", "level": "info", "when": "now", "key": "a" * 32}

    def fill(title: str) -> Any:
        return form({f"{prefix}{name}": value for name, value in {**typed, "title": title}.items()})

    assert "title" in fill("\u200b\ufeff").errors
    filled = fill("two\u2028lines")
    assert "title" not in filled.errors
    assert filled.cleaned_data["title"] == "two lines"


def test_commands_refuse_the_same_titles() -> None:
    with pytest.raises(CommandError, match="title: A title needs at least one visible character"):
        call_command("broadcast", "\u200b")
    call_command("broadcast", "two\nlines", verbosity=0)
    assert Notification.objects.get().title == "two lines"


# Data


def test_values_that_django_can_encode_become_json_types() -> None:
    point = namedtuple("point", "x y")
    data: dict[Any, Any] = {
        "price": Decimal("1.10"),
        "at": datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "time": timedelta(hours=1),
        "id": UUID(int=7),
        "point": point(1, 2.5),
        "level": Size.SMALL,
        "ordered": OrderedDict(a=None, b=True),
        1: {2.5: "keys", None: "are", True: "text"},
    }
    row = broadcast("hello", data=data)
    row.refresh_from_db()
    assert row.data == json.loads(json.dumps(row.data))
    assert row.data == {
        "price": "1.10",
        "at": "2026-01-02T03:04:05.678Z",
        "day": "2026-01-02",
        "time": "P0DT01H00M00S",
        "id": str(UUID(int=7)),
        "point": [1, 2.5],
        "level": 1,
        "ordered": {"a": None, "b": True},
        "1": {"2.5": "keys", "null": "are", "true": "text"},
    }


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"order": {"items": [1, {"no": 2**53}]}}, "order.items.1.no: integers"),
        ({"order": {"who": {1, 2}}}, "order.who: set"),
        ({"a": [float("nan")]}, "a.0: nan"),
        ({"a": {"b": "\x00"}}, "a.b: text with"),
        ({"a": {"\ud800": 1}}, "a: text with"),
        ({"a": {1: 1, "1": 1}}, "a.1: two keys"),
        ({"a": {(1, 2): 1}}, "a: tuple"),
    ],
)
def test_errors_in_data_contain_the_path(data: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        notify(make_user(), "hello", data=data)
    (message,) = caught.value.message_dict["data"]
    assert message.startswith(f"This is not JSON: {place}")
    assert not Notification.objects.exists()


def test_the_depth_of_data_is_limited() -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {} if depth == 1 else {"a": nested(depth - 1)}

    assert plain_json(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    circle: dict[str, Any] = {}
    circle["a"] = [circle]
    for data in (nested(MAX_DEPTH + 1), circle):
        with pytest.raises(ValidationError, match="deeper than"):
            broadcast("hello", data=data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
)


@settings(max_examples=50)
@given(JSON)
def test_plain_json_values_do_not_change(value: Any) -> None:
    assert plain_json(value) == value
    assert msgspec.json.decode(msgspec.json.encode(plain_json(value))) == value


@given(st.text())
def test_plain_keeps_the_text(text: str) -> None:
    assert plain(mark_safe(text)) == text
    assert type(plain(mark_safe(text))) is type(plain(Named(text))) is str

"""Keys: what is stored, how they are found, what they may do, and the command that makes one."""

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from notifications.api import keys
from notifications.api.keys import find_key, make_key, note_use
from notifications.models import APIKey
from tests.rooms import queries

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_key_is_found_by_its_secret_which_is_stored_nowhere() -> None:
    key, secret = make_key("shop", ["publish"], ["user:*"])
    assert find_key(secret) == key
    assert re.fullmatch(r"ntf_[\w-]{43}", secret)
    row = APIKey.objects.filter(pk=key.pk).values().get()
    assert secret.startswith(row["prefix"])
    assert len(row["prefix"]) == 12
    assert not any(secret[12:] in str(value) for value in row.values())


def test_two_keys_differ() -> None:
    assert make_key("a", [], [])[1] != make_key("a", [], [])[1]


@pytest.mark.parametrize(
    "wrong", ["", "ntf_", "x" * 47, "ntf_" + "A" * 42, "ntf_" + "ä" * 43, "ntf_" + "A" * 43 + "\n"]
)
def test_a_text_that_no_key_can_be_costs_no_query(wrong: str) -> None:
    assert find_key(wrong) is None
    assert queries(lambda: find_key(wrong)) == []


def test_a_key_that_is_not_active_is_not_found() -> None:
    key, secret = make_key("shop", ["publish"], ["user:*"])
    APIKey.objects.update(is_active=False)
    assert find_key(secret) is None
    APIKey.objects.update(is_active=True)
    assert find_key(secret) == key
    key.delete()
    assert find_key(secret) is None


def test_the_last_use_is_written_once_a_minute() -> None:
    key, secret = make_key("shop", ["publish"], ["user:*"])
    note_use(key)
    found = find_key(secret)
    assert found is not None
    assert found.last_used_at is not None
    assert queries(lambda: note_use(found)) == []
    found.last_used_at -= timedelta(minutes=1)
    found.save()
    note_use(found)
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert timezone.now() - key.last_used_at < timedelta(seconds=30)


def test_a_last_use_that_cannot_be_written_fails_nothing(monkeypatch: Any) -> None:
    key, _ = make_key("shop", ["publish"], ["user:*"])

    def fail(*args: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(keys, "limit_waiting", fail)
    note_use(key)
    key.refresh_from_db()
    assert key.last_used_at is None


@pytest.mark.parametrize(
    ("patterns", "channel", "allowed"),
    [
        (["user:7"], "user:7", True),
        (["user:7"], "user:70", False),
        (["user:*"], "user:70", True),
        (["user:*"], "user", False),
        (["topic:*", "staff"], "staff", True),
        (["topic:*", "staff"], "broadcast", False),
        (["*"], "broadcast", True),
        (["user:7*"], "user:70", True),
        ([], "broadcast", False),
        ("broadcast", "broadcast", False),
        ({"broadcast": 1}, "broadcast", False),
        ([None, 7, "broadcast"], "broadcast", True),
    ],
)
def test_the_channels_of_a_scope(patterns: Any, channel: str, allowed: bool) -> None:
    assert APIKey(channels=patterns).may_use(channel) is allowed


def test_the_methods_of_a_scope() -> None:
    key = APIKey(methods=["publish"])
    assert key.may_call("publish")
    assert not key.may_call("broadcast")
    assert not APIKey(methods=None).may_call("publish")


@pytest.mark.parametrize("channel", ["", "us*er", "**", "x" * 256, "a\x00"])
def test_a_channel_that_can_match_nothing_is_refused(channel: str) -> None:
    with pytest.raises(ValidationError):
        make_key("shop", ["publish"], [channel])
    assert not APIKey.objects.exists()


def make(*arguments: str) -> str:
    out = StringIO()
    call_command("make_api_key", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_key_and_nothing_else() -> None:
    secret = make("shop", "--method=publish", "--method=history", "--channel=user:*").strip()
    key = find_key(secret)
    assert key is not None
    assert (key.name, key.methods, key.channels) == ("shop", ["publish", "history"], ["user:*"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("", "--method=publish", "--channel=*"), "name"),
        (("x" * 101, "--method=publish", "--channel=*"), "name"),
        (("\udcff", "--method=publish", "--channel=*"), "name"),  # the byte 0xff in a shell
        (("shop", "--method=publish"), "--channel"),
        (("shop", "--channel=*"), "--method"),
        (("shop", "--method=rpc", "--channel=*"), "--method"),
        (("shop", "--method=publish", "--channel=a*b"), "--channel"),
    ],
)
def test_the_command_names_a_wrong_argument(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        make(*arguments)
    assert not APIKey.objects.exists()

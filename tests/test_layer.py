"""Hints to other processes: they may be lost, but sending one never blocks or raises."""

import asyncio
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer
from hypothesis import assume, given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from notifications import layer
from notifications.group_names import group_name
from notifications.layer import Announcer
from notifications.streams.names import TOPIC
from tests.peers import until
from tests.sites import ROOT, site_environment

FORKING = """
import os, django
django.setup()
from tests.test_layer import FickleLayer
from notifications.layer import announcer
announcer.send("user:1", {"type": "parent"})
announcer.flush(5)
pid = os.fork()
if pid == 0:
    announcer.send("user:1", {"type": "child"})
    announcer.flush(5)
    os._exit(len(FickleLayer.taken))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


class FickleLayer(InMemoryChannelLayer):
    """An in-memory layer that raises or hangs, depending on ``mood``."""

    mood: ClassVar[str] = "good"
    taken: ClassVar[list[dict[str, Any]]] = []
    #: Number of calls that fail because of stale connections.
    stale: ClassVar[int] = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.stale:
            FickleLayer.stale -= 1
            raise ConnectionError("closed by the server")
        if self.mood == "raises":
            raise ConnectionError("redis://user:secret@host is away")
        if self.mood == "hangs":
            await asyncio.sleep(3600)
        self.taken.append(message)
        await super().group_send(group, message)


@pytest.fixture
def fickle(settings: Any) -> Iterator[type[FickleLayer]]:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.test_layer.FickleLayer"}}
    settings.NOTIFICATIONS = {"LAYER_TIMEOUT": 0.1}
    FickleLayer.mood = "good"
    FickleLayer.stale = 0
    FickleLayer.taken.clear()
    yield FickleLayer
    FickleLayer.mood = "good"


def errors() -> float:
    return REGISTRY.get_sample_value("notifications_layer_errors_total") or 0.0


def is_valid(group: str) -> bool:
    return bool(BaseChannelLayer().require_valid_group_name(group))


# Names of groups


@pytest.mark.parametrize(
    ("stream", "group"),
    [
        ("broadcast", "notifications.broadcast"),
        ("user:7", "notifications.user.7"),
        ("topic:release-1.0", "notifications.topic.release-1.0"),
        (
            "user:12345678-1234-5678-1234-567812345678",
            "notifications.user.12345678-1234-5678-1234-567812345678",
        ),
    ],
)
def test_plain_keys_are_used_in_group_names(stream: str, group: str) -> None:
    assert group_name(stream) == group
    assert is_valid(group)


@given(st.text(min_size=1, max_size=250, alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_user_has_a_valid_group(key: str) -> None:
    assert is_valid(group_name(f"user:{key}"))


@given(st.text(min_size=1, max_size=150, alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_channel_has_a_valid_group_of_its_own(key: str) -> None:
    group = group_name(f"{'n' * 100}:{key}")
    assert is_valid(group)
    assert group not in (group_name(f"other:{key}"), group_name(f"topic:{'n' * 99}"))


@given(st.from_regex(TOPIC, fullmatch=True))
def test_every_topic_has_a_valid_group(slug: str) -> None:
    assert is_valid(group_name(f"topic:{slug}"))


@pytest.mark.parametrize("length", [64, 65, 80, 100])
def test_long_topics_have_valid_groups(length: int) -> None:
    assert is_valid(group_name("topic:" + "a" * length))


def test_group_names_are_injective() -> None:
    hashed = group_name("user:with space")
    streams = ["broadcast", "staff", "user:a", "topic:a", "group:1", "user:1", "user:a.b"]
    streams += [
        "user:with space",
        f"user:{hashed.rpartition('.')[2]}",
        "user:a" * 30,
        "user:b" * 30,
    ]
    assert len({group_name(stream) for stream in streams}) == len(streams)


@given(st.text(min_size=1, max_size=90), st.text(min_size=1, max_size=90))
def test_two_users_never_share_a_group(one: str, other: str) -> None:
    assume(one != other)
    try:
        assert group_name(f"user:{one}") != group_name(f"user:{other}")
    except UnicodeEncodeError:
        assume(False)


# Sending


async def test_a_hint_sent_from_a_thread_reaches_the_group(fickle: Any) -> None:
    announcer, channels = Announcer(), get_channel_layer()
    channel = await channels.new_channel()
    await channels.group_add("notifications.user.7", channel)
    announcer.use_loop(asyncio.get_running_loop())
    threading.Thread(target=announcer.send, args=("user:7", {"type": "t"})).start()
    assert await asyncio.wait_for(channels.receive(channel), 5) == {"type": "t"}


def test_without_a_hub_hints_are_sent_by_a_background_thread(fickle: type[FickleLayer]) -> None:
    announcer = Announcer()
    announcer.send("user:7", {"n": 1})
    announcer.flush(5)
    assert fickle.taken == [{"n": 1}]


def test_hints_from_many_threads_keep_the_order_of_each_thread(fickle: type[FickleLayer]) -> None:
    announcer = Announcer()

    def send(thread: int) -> None:
        for number in range(100):
            announcer.send("user:7", {"thread": thread, "number": number})

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    announcer.flush(10)
    for number in range(8):
        mine = [m["number"] for m in fickle.taken if m["thread"] == number]
        assert mine == list(range(100))


def test_errors_of_the_layer_are_counted_and_logged_once_until_it_works(
    fickle: type[FickleLayer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifications")
    announcer, before = Announcer(), errors()
    fickle.mood = "raises"
    for number in range(5):
        announcer.send("user:7", {"n": number})
        announcer.flush(5)
    assert errors() == before + 5
    assert not announcer.available
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "ConnectionError" in warnings[0].getMessage()
    assert "secret" not in caplog.text

    fickle.mood = "good"
    announcer.send("user:7", {"n": 5})
    announcer.flush(5)
    assert fickle.taken == [{"n": 5}]
    assert announcer.available
    assert caplog.records[-1].getMessage() == "The channel layer works again."


def test_stale_connections_lose_no_hint(fickle: type[FickleLayer]) -> None:
    announcer, before = Announcer(), errors()
    fickle.stale = 2
    announcer.send("user:7", {"n": 1})
    announcer.flush(5)
    assert fickle.taken == [{"n": 1}]
    assert errors() == before


def test_a_layer_that_hangs_blocks_no_caller_and_times_out(fickle: type[FickleLayer]) -> None:
    announcer, before = Announcer(), errors()
    fickle.mood = "hangs"
    began = time.monotonic()
    for number in range(100):
        announcer.send("user:7", {"n": number})
    assert time.monotonic() - began < 5, "a hundred times the layer's time"
    announcer.flush(30)
    assert time.monotonic() - began < 10
    assert errors() == before + 100
    fickle.mood = "good"
    announcer.send("user:7", {"n": 100})
    announcer.flush(5)
    assert fickle.taken == [{"n": 100}]


def test_a_missing_layer_counts_as_an_error_of_the_layer(settings: Any) -> None:
    settings.NOTIFICATIONS = {"CHANNEL_LAYER": "missing"}
    announcer, before = Announcer(), errors()
    announcer.send("user:7", {"n": 1})
    announcer.flush(5)
    assert errors() == before + 1


def test_a_closed_loop_is_replaced_by_the_background_thread(fickle: type[FickleLayer]) -> None:
    announcer, loop = Announcer(), asyncio.new_event_loop()
    announcer.use_loop(loop)
    loop.close()
    announcer.send("user:7", {"n": 1})
    announcer.flush(5)
    assert fickle.taken == [{"n": 1}]


def test_after_the_hub_has_stopped_hints_are_sent_by_a_thread_again(
    fickle: type[FickleLayer],
) -> None:
    announcer = Announcer()

    async def hub() -> None:
        announcer.use_loop(asyncio.get_running_loop())
        announcer.send("user:7", {"n": 1})
        await until(lambda: fickle.taken)
        announcer.leave_loop(asyncio.get_running_loop())

    asyncio.run(hub())
    announcer.send("user:7", {"n": 2})
    announcer.flush(5)
    assert fickle.taken == [{"n": 1}, {"n": 2}]


async def test_a_hub_that_stops_leaves_the_hints_to_the_hub_of_another_loop(
    fickle: type[FickleLayer],
) -> None:
    announcer, failures = Announcer(), list[Exception]()
    first = asyncio.new_event_loop()
    announcer.use_loop(first)
    announcer.use_loop(asyncio.get_running_loop(), failures.append)
    fickle.mood = "hangs"
    announcer.send("user:7", {"n": 1})
    await asyncio.sleep(0)  # the message is being sent
    began = time.monotonic()
    await asyncio.to_thread(first.run_until_complete, announcer.aflush(30))
    assert time.monotonic() - began < 10
    announcer.leave_loop(first)
    first.close()
    fickle.mood = "raises"
    announcer.send("user:7", {"n": 2})
    await announcer.aflush(5)
    assert failures, "the hub that sends learns of failures"


def test_the_queue_is_bounded_and_dropped_hints_are_counted(
    fickle: type[FickleLayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "QUEUE_SIZE", 3)
    announcer, loop, before = Announcer(), asyncio.new_event_loop(), errors()
    announcer.use_loop(loop)  # it does not run
    for number in range(5):
        announcer.send("user:7", {"n": number})
    assert errors() == before + 2
    loop.run_until_complete(until(lambda: len(fickle.taken) == 3))
    loop.close()
    assert [message["n"] for message in fickle.taken] == [2, 3, 4]


def test_a_forked_child_sends_with_a_thread_of_its_own(tmp_path: Any) -> None:
    code = (
        "from tests.settings import *\n"
        "CHANNEL_LAYERS = {'default': {'BACKEND': 'tests.test_layer.FickleLayer'}}\n"
    )
    (tmp_path / "forking_settings.py").write_text(code)
    env = site_environment(tmp_path) | {
        "DJANGO_SETTINGS_MODULE": "forking_settings",
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
    }
    result = subprocess.run(
        [sys.executable, "-c", FORKING],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.strip() == "2", result.stderr


def test_a_session_is_sent_as_a_digest() -> None:
    sent: list[dict[str, Any]] = []
    original = layer.announcer.send
    layer.announcer.send = lambda stream, message: sent.append(message)  # type: ignore[method-assign]
    try:
        layer.send_changed("user:7")
        layer.send_changed("user:7", session="ab12")
    finally:
        layer.announcer.send = original  # type: ignore[method-assign]
    assert sent == [
        {"type": "notifications.changed", "stream": "user:7", "session": ""},
        {"type": "notifications.changed", "stream": "user:7", "session": "ab12"},
    ]
    assert re.fullmatch("[a-z.]+", sent[0]["type"])

"""Reading the past of a stream: pages, offsets, headers and refusals."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.utils import timezone

from notifications import broadcast, inbox, notify
from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Notification, Stream
from tests.peers import log_in, running_hub
from tests.rooms import fill, make_user
from tests.transports.durable_streams.requests import Exchange, Reader

pytestmark = pytest.mark.django_db(transaction=True)

#: Queries that no client of the protocol sends.
MALFORMED = [
    "offset=",
    "offset=0,1",
    "offset=0 1",
    "offset=5",
    "offset=-2",
    "offset=NOW",
    "offset=-1&offset=-1",
    "offset=a&offset=b",
    "offset=0000000000000001",
    "offset=0000000000000001_",
    "offset=000000000000000A_abc",
    "offset=0000000000000001_ab%0a",
    "offset=0000000000000001_%C3%A9",
    f"offset=0000000000000001_{'a' * 17}",
    f"offset={'f' * 5000}_a",
    "live=long-poll",
    "live=sse",
    "offset=-1&live=true",
    "offset=-1&live=",
    "&".join(f"p{number}=1" for number in range(21)),
]


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, PAGE_SIZE=3) as running:
        yield running


@pytest.fixture
async def user() -> Any:
    return await in_database(make_user)


async def test_a_stream_is_read_from_its_beginning_page_by_page(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    for number in range(5):
        await in_database(notify, user, f"n{number}")
    first = await reader.read("-1")
    assert (first.status, first.titles, first.is_up_to_date) == (200, ["n0", "n1", "n2"], False)
    second = await reader.read(first.offset)
    assert (second.titles, second.is_up_to_date) == (["n3", "n4"], True)
    last = await reader.read(second.offset)
    assert (last.titles, last.offset, last.is_up_to_date) == ([], second.offset, True)
    assert first.offset < second.offset
    assert first.headers["content-type"] == "application/json"
    assert (await reader.read()).body == first.body


async def test_messages_are_the_data_of_publications_unchanged(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    data = {"order": 7, "text": "Grüße\n☃"}
    await in_database(notify, user, "Shipped", data=data, kind="order.shipped", url="/orders/7/")
    [message] = (await reader.read("-1")).json
    assert message.pop("created").endswith("Z")
    assert message.pop("id") > 0
    assert message == {
        "kind": "order.shipped",
        "level": "info",
        "title": "Shipped",
        "url": "/orders/7/",
        "data": data,
    }


async def test_now_is_the_end_and_has_no_messages(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(notify, user, "old")
    end = await reader.read("now")
    assert (end.status, end.body, end.is_up_to_date) == (200, b"[]", True)
    assert end.headers["cache-control"] == "no-store"
    assert "etag" not in end.headers
    await in_database(notify, user, "new")
    assert (await reader.read(end.offset)).titles == ["new"]


async def test_head_tells_the_end_without_a_body(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    for number in range(5):
        await in_database(notify, user, f"n{number}")
    head = await reader.read(method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.offset == (await reader.read("now")).offset
    assert head.headers["content-type"] == "application/json"
    assert head.headers["cache-control"] == "no-store"
    # RFC 9110 section 8.6: it would have to be that of the page.
    assert "content-length" not in head.headers


async def test_expired_and_withdrawn_entries_are_moved_over(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    pks = [(await in_database(notify, user, f"n{number}"))[0] for number in range(4)]
    rows = Notification.objects.filter
    past = timezone.now() - timedelta(minutes=1)
    await in_database(rows(pk=pks[0]).update, expires_at=past)
    await in_database(rows(pk=pks[3]).update, withdrawn_at=past)
    first = await reader.read("-1")
    assert (first.titles, first.is_up_to_date) == (["n1", "n2"], False)
    last = await reader.read(first.offset)
    assert (last.titles, last.is_up_to_date) == ([], True)
    assert last.offset == (await reader.read("now")).offset


async def test_pruned_entries_are_told_to_whoever_would_miss_them(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(fill, reader.name, 5)
    first = await reader.read("-1")

    def prune(floor: int) -> None:
        Notification.objects.filter(stream__name=reader.name, offset__lte=floor).delete()
        Stream.objects.filter(name=reader.name).update(floor=floor)

    await in_database(prune, 3)
    assert (await reader.read(first.offset)).titles == ["number 4", "number 5"]
    await in_database(prune, 4)
    lost = await reader.read(first.offset)
    assert (lost.status, lost.json["error"]["code"]) == (410, 112)
    assert (await reader.read("-1")).titles == ["number 5"]


async def test_a_new_epoch_is_told_in_every_mode(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(fill, reader.name, 5)
    old = (await reader.read("now")).offset
    await in_database(Stream.objects.filter(name=reader.name).update, epoch="0ther")
    for live in ("", "long-poll", "sse"):
        assert (await reader.read(old, live)).status == 410
    new = await reader.read("-1")
    assert new.offset.endswith("_0ther")


async def test_a_user_sees_nothing_from_before_joining(hub: Hub, user: Any) -> None:
    await in_database(broadcast, "before", to="everyone")
    late = await in_database(make_user, "late")
    reader = await Reader.of(late, "broadcast")
    await in_database(broadcast, "after", to="everyone")
    page = await reader.read("-1")
    assert page.titles == ["after"]
    forged = page.offset.replace("2_", "0_")
    assert (await reader.read(forged)).status == 410
    assert (await (await Reader.of(user, "broadcast")).read("-1")).titles == ["before", "after"]


async def test_a_muted_stream_is_moved_over_and_begins_again_when_unmuted(
    hub: Hub, user: Any
) -> None:
    reader = await Reader.of(user, "broadcast")
    await in_database(broadcast, "heard", to="everyone")
    heard = (await reader.read("-1")).offset
    await in_database(inbox.mute, user, "broadcast")
    await in_database(broadcast, "not heard", to="everyone")
    muted = await reader.read(heard)
    assert (muted.titles, muted.is_up_to_date) == ([], True)
    assert muted.offset > heard
    await in_database(inbox.mute, user, "broadcast", False)
    await in_database(broadcast, "heard again", to="everyone")
    assert (await reader.read(muted.offset)).titles == ["heard again"]
    assert (await reader.read("-1")).titles == ["heard again"]
    assert (await reader.read(heard)).status == 410


# Caching


async def test_an_unchanged_page_is_not_sent_again(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(notify, user, "one")
    page = await reader.read("-1")
    etag = page.headers["etag"]
    for known in (etag, f'W/{etag}, "other"', "*"):
        same = await reader.read("-1", headers={"if-none-match": known})
        assert (same.status, same.body, same.offset) == (304, b"", page.offset)
        assert same.headers["etag"] == etag
        assert same.headers["cache-control"] == page.headers["cache-control"]
    other = await reader.read("-1", headers={"if-none-match": '"other"'})
    assert other.status == 200
    await in_database(notify, user, "two")
    more = await reader.read("-1", headers={"if-none-match": etag})
    assert (more.status, more.titles) == (200, ["one", "two"])
    gone = Notification.objects.filter(title="one").update
    await in_database(gone, withdrawn_at=timezone.now())
    less = await reader.read("-1", headers={"if-none-match": more.headers["etag"]})
    assert (less.status, less.titles) == (200, ["two"])


async def test_a_page_that_is_no_longer_the_last_one_is_sent_again(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(fill, reader.name, 3)
    last = await reader.read("-1")
    await in_database(notify, user, "another")
    page = await reader.read("-1", headers={"if-none-match": last.headers["etag"]})
    assert last.is_up_to_date
    assert (page.status, page.is_up_to_date, page.titles) == (200, False, last.titles)


async def test_no_shared_cache_may_keep_a_response(hub: Hub, user: Any) -> None:
    private = await (await Reader.of(user)).read("-1")
    shared = await (await Reader.of(user, "broadcast")).read("-1")
    refused = await Reader("broadcast", {}).read("-1")
    assert private.headers["cache-control"] == "private, no-store"
    assert shared.headers["cache-control"] == "private, no-cache"
    assert refused.headers["cache-control"] == "no-store"
    for response in (private, shared, refused):
        assert response.headers["vary"] == "Authorization, Cookie, Origin, Subscription-Token"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_known_page_is_not_confirmed_to_whoever_may_not_read_it(
    hub: Hub, user: Any
) -> None:
    group = await in_database(Group.objects.create, name="g")
    await in_database(group.user_set.add, user)
    reader = await Reader.of(user, f"group:{group.pk}")
    etag = (await reader.read("-1")).headers["etag"]
    await in_database(group.user_set.remove, user)
    for headers in ({"if-none-match": etag}, {"if-none-match": "*"}):
        assert (await reader.read("-1", headers=headers)).status == 403


# Who may read


async def test_a_session_reads_what_a_token_reads(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    await in_database(notify, user, "for you")
    reader = Reader(f"user:{user.pk}", {"cookie": f"a=b; sessionid={key}"})
    assert (await reader.read("-1")).titles == ["for you"]
    reader.headers["authorization"] = "Basic c29tZWJvZHk6ZWxzZQ=="
    assert (await reader.read("-1")).titles == ["for you"]


async def test_nobody_reads_without_valid_credentials(hub: Hub, user: Any) -> None:
    name = f"user:{user.pk}"
    for headers in ({}, {"cookie": "sessionid=unknownunknownunknown"}):
        page = await Reader(name, headers).read("-1")
        assert (page.status, page.json["error"]["code"]) == (401, 101)
        assert page.headers["www-authenticate"] == "Bearer"
    key = await in_database(log_in, user)
    forged = {"authorization": "Bearer nothing", "cookie": f"sessionid={key}"}
    page = await Reader(name, forged).read("-1")
    assert (page.status, page.json["error"]["code"]) == (401, 101)
    assert page.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    old = await in_database(make_token, user, -100)
    page = await Reader(name, {"authorization": f"Bearer {old}"}).read("-1")
    assert (page.status, page.json["error"]["code"]) == (401, 109)


@pytest.mark.parametrize("live", ["", "long-poll", "sse"])
async def test_nobody_reads_the_streams_of_others(hub: Hub, user: Any, live: str) -> None:
    other = await in_database(make_user, "other")
    for name in (f"user:{other.pk}", "user:x", "staff", "group:1", "topic:unknown"):
        page = await (await Reader.of(user, name)).read("-1", live)
        assert (page.status, page.json["error"]["code"]) == (403, 103)
        assert "stream-next-offset" not in page.headers


async def test_a_topic_is_read_by_its_followers(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user, "topic:news")
    assert (await reader.read("-1")).status == 403
    await in_database(inbox.join, user, "topic:news")
    await in_database(broadcast, "news", to="topic:news")
    assert (await reader.read("-1")).titles == ["news"]


async def test_names_that_no_stream_can_have_are_not_found(hub: Hub, user: Any) -> None:
    for name in ("unknown", "chat:7", "topic:", "broadcast/", "user:\0", "user:" + "x" * 300):
        page = await (await Reader.of(user, name)).read("-1")
        assert (page.status, page.json["error"]["code"]) == (404, 102)


# Requests that are refused


async def test_streams_are_read_only(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        page = await reader.read(method=method)
        assert (page.status, page.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert page.json["error"]["code"] == 108


async def test_malformed_queries_are_refused(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    for query in MALFORMED:
        page = await reader.read(query=query)
        assert (page.status, page.json["error"]["code"]) == (400, 107), query


async def test_unknown_parameters_are_ignored(hub: Hub, user: Any) -> None:
    page = await (await Reader.of(user)).read(query="offset=-1&color=red&color=blue")
    assert page.status == 200


async def test_requests_are_limited_for_each_user(settings: Any, user: Any) -> None:
    async with running_hub(settings, COMMAND_BURST=5, COMMAND_RATE=0.1):
        reader = await Reader.of(user)
        assert [(await reader.read("-1")).status for _ in range(6)] == [200] * 5 + [429]
        refused = await reader.read("-1")
        assert (refused.json["error"]["code"], refused.headers["retry-after"]) == (111, "1")
        other = await Reader.of(await in_database(make_user, "other"))
        assert (await other.read("-1")).status == 200


async def test_a_broken_database_is_told_and_leaves_no_traceback(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = await Reader.of(user)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr("notifications.connect.reading.read_sound_inboxes", fail)
    for live in ("", "long-poll", "sse"):
        page = await reader.read("-1", live)
        assert (page.status, page.headers["retry-after"]) == (503, "1")
        assert "away" not in page.body.decode()
    assert not any(record.exc_info for record in caplog.records)
    assert not hub.connections.all


# Pages of other origins


async def test_pages_of_other_origins_read_if_they_are_allowed(settings: Any, user: Any) -> None:
    allowed = ["https://app.example"]
    async with running_hub(settings, ALLOWED_ORIGINS=allowed):
        reader = await Reader.of(user)
        reader.headers |= {"host": "localhost", "origin": "https://app.example"}
        page = await reader.read("-1")
        assert page.status == 200
        assert page.headers["access-control-allow-origin"] == "https://app.example"
        assert page.headers["access-control-allow-credentials"] == "true"
        assert "Stream-Next-Offset" in page.headers["access-control-expose-headers"]
        preflight = Exchange(
            "/streams/broadcast",
            method="OPTIONS",
            headers={"host": "localhost", "origin": "https://app.example"},
        )
        assert (await preflight.complete()).status == 204
        allowed_headers = preflight.headers["access-control-allow-headers"]
        assert allowed_headers == "Authorization, If-None-Match, Subscription-Token"
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost", "origin": "https://evil.example"},
        {"host": "localhost", "origin": "null"},
        {"host": "evil.example"},
        {"host": "localhost", "sec-fetch-site": "cross-site"},
    ],
)
async def test_foreign_pages_and_hosts_are_refused(
    hub: Hub, user: Any, headers: dict[str, str]
) -> None:
    reader = await Reader.of(user)
    for method in ("GET", "HEAD", "OPTIONS"):
        page = await reader.read("-1", headers=headers, method=method)
        assert page.status == 403
        assert "access-control-allow-origin" not in page.headers


async def test_offsets_that_were_never_given_are_told_as_a_loss(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user)
    await in_database(fill, reader.name, 2)
    epoch = (await reader.read("-1")).offset.partition("_")[2]
    for digits in (f"{3:016x}", f"{2**63:016x}", "f" * 16):
        for live in ("", "long-poll", "sse"):
            assert (await reader.read(f"{digits}_{epoch}", live)).status == 410
    assert (await reader.read(f"{2:016x}_{epoch}")).is_up_to_date


async def test_streams_are_below_the_prefix_of_the_site(hub: Hub, user: Any) -> None:
    """Whether a proxy has removed it or not."""
    reader = await Reader.of(user)
    for path in (f"/portal/streams/{reader.name}", f"/streams/{reader.name}"):
        page = Exchange(path, headers=reader.headers, root_path="/portal")
        assert (await page.complete()).status == 200

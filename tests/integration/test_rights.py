"""What a user may see and do, at connect and when rights change while connected (P6)."""

import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from tests.client import Client
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.integration.processes import Redis
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

#: Seconds: within SOON a change takes effect, even on a busy machine. LATE is an interval of checks
#: that is too long for a check to find the change in time.
SOON = 60.0
LATE = 600.0


@pytest.fixture(scope="module", params=["by hints", "by position checks"])
def shared_changing(
    request: pytest.FixtureRequest, site: Site, redis: Redis, tmp_path_factory
) -> Iterator[Place]:
    """With Redis, a change arrives by the layer long before a check; without, only by a check."""
    directory = tmp_path_factory.mktemp("rights")
    if request.param == "by hints":
        variables = {"REDIS_URL": redis.url, "NOTIFICATIONS_CHECK_INTERVAL": str(LATE)}
    else:
        variables = {}
    with open_place(site, directory, **variables) as place:
        yield place


@pytest.fixture
def changing(shared_changing: Place) -> Iterator[Place]:
    yield shared_changing
    shared_changing.tidy()


def by_cookie(place: Place, person: Person) -> Client:
    return place.connected(person, cookie=place.other.run(jobs.log_in, person.id))


def assert_closed(client: Client, code: int) -> None:
    assert client.wait_closed(SOON) == code


def assert_open(client: Client) -> None:
    assert "rpc" in client.ask(rpc={"method": "unread"})


def post(url: str, cookie: str, fields: dict[str, str]) -> None:
    """Post a form as a page of the site does."""
    fields = {"csrfmiddlewaretoken": "x" * 32, **fields}
    headers = {"Cookie": f"{cookie}; csrftoken={'x' * 32}", "Referer": url}
    request = urllib.request.Request(url, urllib.parse.urlencode(fields).encode(), headers)
    urllib.request.urlopen(request, timeout=10).close()


# Changes while connected


def test_logout_closes_the_sockets_of_that_session(place: Place) -> None:
    person = place.person()
    cookie = place.other.run(jobs.log_in, person.id)
    first, second = (place.connected(person, cookie=cookie) for _ in range(2))
    elsewhere, native = by_cookie(place, person), place.connected(person)
    post(f"{place.server.url}/accounts/logout/", cookie, {})
    for client in (first, second):
        assert_closed(client, 3011)
        client.open()
        assert client.try_connect()["error"]["code"] == 101
    for client in (elsewhere, native):
        assert_open(client)


def test_logging_in_as_another_user_closes_the_sockets_of_the_previous_session(
    place: Place,
) -> None:
    person, other = place.person(), place.person(password="their own")
    cookie = place.other.run(jobs.log_in, person.id)
    client, native = place.connected(person, cookie=cookie), place.connected(person)
    post(
        f"{place.server.url}/accounts/login/",
        cookie,
        {"username": other.name, "password": "their own"},
    )
    assert_closed(client, 3011)
    assert_open(native)


def test_an_expired_token_disconnects_unless_it_was_refreshed(place: Place) -> None:
    person = place.person()
    client, neighbour = place.client(person), place.client(person)
    for each in (client, neighbour):
        each.token = place.other.run(jobs.token_of, person.id, 5.0)
        result = each.connect()
        assert result["expires"] is True
        assert 0 < result["ttl"] <= 5
    fresh = place.other.run(jobs.token_of, person.id, 100.0)
    assert neighbour.ask(refresh={"token": fresh})["refresh"]["ttl"] > 50
    assert_closed(client, 3005)
    client.open()
    assert client.try_connect()["error"]["code"] == 109
    assert neighbour.closed is None
    assert_open(neighbour)


def test_a_token_of_another_user_does_not_refresh(place: Place) -> None:
    person, stranger = place.person(), place.person()
    client = place.connected(person)
    client.send_text(f'{{"id":7,"refresh":{{"token":"{stranger.token}"}}}}')
    assert_closed(client, 3500)


def test_deactivating_a_user_closes_the_connections(changing: Place) -> None:
    person = changing.person()
    clients = [changing.connected(person), by_cookie(changing, person)]
    changing.other.run(jobs.change_user, person.id, is_active=False)
    for client in clients:
        assert_closed(client, 3503)
    clients[0].open()
    clients[0].send_text(f'{{"id":1,"connect":{{"token":"{person.token}"}}}}')
    assert_closed(clients[0], 3500)
    clients[1].open()
    assert clients[1].try_connect()["error"]["code"] == 101


def test_changing_the_password_closes_the_connections(changing: Place) -> None:
    person = changing.person(password="the first one")
    bystander = changing.connected(changing.person())
    native, page = changing.connected(person), by_cookie(changing, person)
    changing.other.run(jobs.set_password, person.id, "another one")
    assert_closed(native, 3500)
    assert_closed(page, 3011)
    page.open()
    assert page.try_connect()["error"]["code"] == 101
    assert_open(bystander)


def test_deleting_a_user_closes_the_connection(changing: Place) -> None:
    person = changing.person()
    client = changing.connected(person)
    changing.other.run(jobs.delete_user, person.id)
    client.wait_closed(SOON)
    client.open()
    client.send_text(f'{{"id":1,"connect":{{"token":"{person.token}"}}}}')
    assert_closed(client, 3500)


def test_leaving_a_group_ends_its_subscription(changing: Place) -> None:
    person, member = changing.person(), changing.person()
    group = changing.other.run(jobs.make_group, f"of {person.name}", [person.id, member.id])
    channel = f"group:{group}"
    client, other = changing.connected(person), changing.connected(member)
    changing.other.run(jobs.broadcast_to, channel, ["one"])
    for each in (client, other):
        each.wait_for_titles(["one"])
    changing.other.run(jobs.leave_group, group, person.id)
    client.wait(lambda: client.unsubscribed == [(channel, 2000)], "an unsubscribe", SOON)
    changing.other.run(jobs.broadcast_to, channel, ["secret"])
    other.wait_for_titles(["one", "secret"])
    changing.other.run(jobs.notify_user, person.id, ["still here"])
    client.wait_for_titles(["one", "still here"])
    assert client.error(history={"channel": channel, "limit": 10}) == 103
    client.drop()
    assert channel not in client.connect()["subs"]


def test_joining_a_group_starts_a_subscription(changing: Place) -> None:
    person = changing.person()
    group = changing.other.run(jobs.make_group, f"of {person.name}", [])
    channel = f"group:{group}"
    changing.other.run(jobs.broadcast_to, channel, ["before his time"])
    client = changing.connected(person)
    changing.other.run(jobs.join_group, group, person.id)
    client.wait(lambda: [name for name, _ in client.subscribed] == [channel], "a push", SOON)
    changing.other.run(jobs.broadcast_to, channel, ["welcome"])
    client.wait_for_titles(["welcome"])


def test_deleting_a_group_ends_its_subscriptions(changing: Place) -> None:
    person = changing.person()
    group = changing.other.run(jobs.make_group, f"of {person.name}", [person.id])
    client = changing.connected(person)
    changing.other.run(jobs.delete_group, group)
    client.wait(lambda: client.unsubscribed or client.closed, "an end", SOON)
    # The check cannot tell a deleted history from one that was reset.
    assert client.closed is None or client.closed.code == 3010
    client.close()
    assert f"group:{group}" not in client.connect()["subs"]


def test_losing_staff_status_ends_the_staff_subscription(changing: Place) -> None:
    person = changing.person(staff=True)
    client = changing.connected(person)
    assert "staff" in client.positions
    changing.other.run(jobs.change_user, person.id, is_staff=False)
    client.wait(lambda: client.unsubscribed == [("staff", 2000)], "an unsubscribe", SOON)
    changing.other.run(jobs.broadcast_to, "staff", ["secret"])
    changing.other.run(jobs.notify_user, person.id, ["public"])
    client.wait_for_titles(["public"])


def test_an_administrator_can_disconnect_a_user(changing: Place) -> None:
    person = changing.person()
    client = changing.connected(person)
    wait_until(
        lambda: changing.other.run(jobs.connections_of, person.id), "the connection to be listed"
    )
    changing.other.run(jobs.disconnect, person.id)
    assert_closed(client, 3503)


# Rights at connect; the whole matrix is in tests/security/test_matrix.py


def test_an_anonymous_client_gets_nothing(place: Place) -> None:
    """``connect`` fails with 101, and any other command closes the socket."""
    nobody = place.client()
    nobody.open()
    assert nobody.try_connect()["error"]["code"] == 101
    nobody.send_text('{"id":9,"history":{"channel":"broadcast","limit":1}}')
    assert nobody.wait_closed() == 3501


def test_publishing_is_limited_to_the_permissions_of_the_sender(place: Place) -> None:
    private = place.connected(place.person(permissions=("send_private",)))
    loud = place.connected(place.person(permissions=("send_broadcast",)))
    reader = place.person()
    client = place.connected(reader)
    message = {"title": "hello", "body": "<b>only text</b>", "url": "/notifications/"}
    assert loud.error(publish={"channel": reader.channel, "data": message}) == 103
    assert private.error(publish={"channel": "broadcast", "data": message}) == 103
    assert private.ask(publish={"channel": reader.channel, "data": message})["publish"] == {}
    client.wait_for_titles(["hello"])
    assert client.publications[0].data["body"] == "<b>only text</b>"
    assert client.publications[0].data["actor"]["name"].startswith("person")
    for url in ("javascript:alert(1)", "//evil.example/", "data:text/html,x", "\\\\evil"):
        bad = {**message, "url": url}
        assert private.error(publish={"channel": reader.channel, "data": bad}) == 107
    assert private.error(publish={"channel": "user:999999", "data": message}) == 102


def test_the_read_state_of_other_users_cannot_be_changed(place: Place) -> None:
    person, stranger = place.person(), place.person()
    (pk,) = place.other.run(jobs.notify_user, person.id, ["private"])
    client = place.connected(stranger)
    for method in ("read", "archive", "unread"):
        assert client.rpc(method, ids=[pk])["ids"] == []
    assert client.rpc("inbox", folder="all")["entries"] == []
    assert client.error(rpc={"method": "mute", "data": {"channel": person.channel}}) == 102
    assert place.other.run(jobs.unread, person.id) == 1

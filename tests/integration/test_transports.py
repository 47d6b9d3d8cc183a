"""The JavaScript SDK over HTTP, with ``manage.py serve`` and with daphne."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import jobs
from tests.integration.fronts import StartFront
from tests.integration.places import SECRET, Person, Place, open_place
from tests.integration.processes import Redis
from tests.integration.sdks import JavaScript, Refused
from tests.proxies import HoldingProxy
from tests.servers import Server
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

TRANSPORTS = ["http_stream", "sse"]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sdk(
    person: Person, transport: str, server: Server, *, other: Server | None = None, **options: Any
) -> JavaScript:
    """A client of a server, which sends its commands to another one if that is given."""
    return JavaScript(
        [(transport, f"{server.url}/connection/{transport}")],
        **{
            "token": person.token,
            "emulationEndpoint": f"{(other or server).url}/emulation",
            **options,
        },
    )


def test_the_sdk_connects_receives_and_calls(place: Place, transport: str) -> None:
    person = place.person(permissions=("send_private",))
    place.other.run(jobs.notify_user, person.id, ["before"])
    with sdk(person, transport, place.server) as client:
        assert client.connected()["transport"] == transport
        client.wait(lambda: client.titles(person.channel) == ["before"], "the backlog")
        client.call("publish", person.channel, {"title": "own"})
        client.wait(lambda: client.titles(person.channel) == ["before", "own"], "a live one")
        listed = client.call("rpc", "inbox", {"folder": "unread"})["data"]["entries"]
        assert [entry["title"] for entry in listed] == ["own", "before"]
        history = client.call("history", person.channel, {"limit": 10})
        assert [each["data"]["title"] for each in history["publications"]] == ["before", "own"]
        client.call("subscribe", "topic:news")
        place.other.run(jobs.broadcast_to, "topic:news", ["news"])
        client.wait(lambda: client.titles("topic:news") == ["news"], "news")
        with pytest.raises(Refused) as refused:
            client.call("publish", "broadcast", {"title": "no"})
        assert refused.value.code == 103
        assert client.count("connecting") == 1
        client.call("disconnect")
        assert client.wait_for_event("disconnected")["code"] == 0
    wait_until(lambda: not place.other.run(jobs.connections_of, person.id), "the end to be noticed")


def test_a_thousand_messages_arrive_in_order(place: Place, transport: str) -> None:
    person = place.person()
    titles = [f"n{number}" for number in range(1000)]
    with sdk(person, transport, place.server) as client:
        client.connected()
        place.other.run(jobs.notify_in_bulk, person.id, titles[:500])
        place.other.run(jobs.notify_user, person.id, titles[500:])
        client.wait(lambda: len(client.titles(person.channel)) >= 1000, "all of them")
        assert client.titles(person.channel) == titles
        assert client.count("connecting") == 1


def test_a_killed_server_loses_and_repeats_nothing(place: Place, transport: str) -> None:
    person = place.person()
    with sdk(person, transport, place.server) as client:
        client.connected()
        place.other.run(jobs.notify_user, person.id, ["one"])
        client.wait(lambda: client.titles(person.channel), "the first one")
        place.server.kill()
        place.other.run(jobs.notify_user, person.id, ["two", "three"])
        place.server.start()
        client.wait(lambda: len(client.titles(person.channel)) >= 3, "the rest")
        assert client.titles(person.channel) == ["one", "two", "three"]
        assert client.count("connected") == 2


def test_without_credentials_the_sdk_gives_up(place: Place, transport: str) -> None:
    person = place.person()
    with sdk(person, transport, place.server, token="") as client:
        client.begin("connect")
        assert client.wait_for_event("disconnected")["code"] == 101
    with sdk(person, transport, place.server, token="forged") as client:
        client.begin("connect")
        assert client.wait_for_event("disconnected")["code"] == 3500


@pytest.fixture(scope="module")
def quick(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that pings every second."""
    variables = {"NOTIFICATIONS_PING_INTERVAL": "1", "NOTIFICATIONS_PONG_TIMEOUT": "0.8"}
    with open_place(site, tmp_path_factory.mktemp("quick"), **variables) as place:
        yield place


def test_pongs_keep_the_connection_and_acknowledge(quick: Place, transport: str) -> None:
    person = quick.person()
    with sdk(person, transport, quick.server) as client:
        client.connected()
        quick.other.run(jobs.notify_user, person.id, ["one"])
        quick.other.run(jobs.wait_until_delivered, person.id, person.channel, 1)
        # Two more are acknowledged by the pongs to later pings: the connection has lived on.
        for offset in (2, 3):
            quick.other.run(jobs.notify_user, person.id, [f"number {offset}"])
            quick.other.run(jobs.wait_until_delivered, person.id, person.channel, offset)
        assert client.count("connecting") == 1


def test_a_drain_sends_the_sdk_to_another_worker(
    site: Site, directory: Path, transport: str
) -> None:
    with open_place(site, directory) as place:
        person = place.person()
        with sdk(person, transport, place.server) as client:
            client.connected()
            assert place.server.stop() == 0
            assert client.wait_for_event("connecting", 2)["code"] == 3001
            place.other.run(jobs.notify_user, person.id, ["meanwhile"])
            place.server.start()
            client.wait(lambda: client.titles(person.channel) == ["meanwhile"], "it")
            assert client.count("disconnected") == 0


# Several workers


@pytest.fixture(scope="module")
def pair(site: Site, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    variables = {"REDIS_URL": redis.url, "NOTIFICATIONS_CHECK_INTERVAL": "3"}
    with open_place(site, tmp_path_factory.mktemp("pair"), **variables) as place:
        place.add_server()
        yield place


def test_commands_may_arrive_at_another_worker(pair: Place, transport: str) -> None:
    one, two = pair.servers
    person = pair.person()
    with sdk(person, transport, one, other=two) as client:
        client.connected()
        for _ in range(20):
            assert client.call("rpc", "unread", {})["data"] == {"unread": 0}
        client.call("subscribe", "topic:a")
        pair.other.run(jobs.broadcast_to, "topic:a", ["news"])
        client.wait(lambda: client.titles("topic:a") == ["news"], "news")


def test_without_redis_commands_fail_loudly_and_messages_go_on(site: Site, directory: Path) -> None:
    redis = Redis().start()
    try:
        with open_place(site, directory, REDIS_URL=redis.url) as place:
            one, two = place.server, place.add_server()
            person = place.person()
            with sdk(person, "http_stream", one, other=two, timeout=1000) as client:
                client.connected()
                assert client.call("rpc", "unread", {})["data"] == {"unread": 0}
                redis.kill()
                with pytest.raises(Refused) as lost:
                    client.call("rpc", "unread", {})
                assert lost.value.code == 11, "the SDK closes the connection at a 503"
                place.other.run(jobs.notify_user, person.id, ["still received"])
                client.wait(lambda: client.titles(person.channel) == ["still received"], "it")
            answer = subprocess.run(
                [
                    *("curl", "-s", "-o", "-", "-w", "%{http_code}", "--data"),
                    '{"session":"s","node":"' + "f" * 32 + '","data":"{}"}',
                    f"{two.url}/emulation",
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert answer.endswith("}503"), answer
    finally:
        redis.close()


# Proxies


@pytest.fixture
def proxy(quick: Place) -> Iterator[HoldingProxy]:
    proxy = HoldingProxy(quick.server.port)
    yield proxy
    proxy.close()


def test_a_proxy_that_breaks_websockets_is_survived(quick: Place, proxy: HoldingProxy) -> None:
    person, server = quick.person(), quick.server
    proxy.holds = False
    endpoints = [
        ("websocket", f"{proxy.url.replace('http', 'ws')}/connection/websocket"),
        ("http_stream", f"{proxy.url}/connection/http_stream"),
    ]
    emulation = f"{proxy.url}/emulation"
    with JavaScript(endpoints, token=person.token, emulationEndpoint=emulation) as client:
        assert client.connected()["transport"] == "http_stream"
        assert client.count("error") == 1
        quick.other.run(jobs.notify_user, person.id, ["one"])
        client.wait(lambda: client.titles(person.channel) == ["one"], "one")
        assert client.call("rpc", "unread", {})["data"] == {"unread": 1}
    assert server.log.count("Traceback") == 0


def test_a_proxy_that_holds_responses_back_is_told_and_survived(
    quick: Place, proxy: HoldingProxy
) -> None:
    """The client's time limit notices it, and the next transport is tried."""
    person, server = quick.person(), quick.server
    endpoints = [
        ("http_stream", f"{proxy.url}/connection/http_stream"),
        ("sse", f"{server.url}/connection/sse"),
    ]
    options: dict[str, Any] = {"emulationEndpoint": f"{server.url}/emulation", "timeout": 1000}
    with JavaScript(endpoints, token=person.token, **options) as client:
        assert client.connected()["transport"] == "sse"
        assert client.count("error") == 1
        quick.other.run(jobs.notify_user, person.id, ["one"])
        client.wait(lambda: client.titles(person.channel) == ["one"], "one")


def test_a_proxy_that_stops_holding_back_is_used(quick: Place, proxy: HoldingProxy) -> None:
    person = quick.person()
    endpoints = [("http_stream", f"{proxy.url}/connection/http_stream")]
    options: dict[str, Any] = {"emulationEndpoint": f"{proxy.url}/emulation", "timeout": 1000}
    with JavaScript(endpoints, token=person.token, **options) as client:
        client.begin("connect")
        client.wait_for_event("error")
        quick.other.run(jobs.notify_user, person.id, ["one"])
        proxy.holds = False
        client.wait(lambda: client.titles(person.channel) == ["one"], "one")


def test_nginx_passes_every_message_at_once(front: StartFront, transport: str) -> None:
    """And pings keep a quiet response open beyond the timeouts of the proxy."""
    running = front(
        {"_timeout 90s;": "_timeout 3s;"},
        NOTIFICATIONS_PING_INTERVAL="1",
        NOTIFICATIONS_PONG_TIMEOUT="0.9",
        NOTIFICATIONS_CHECK_INTERVAL="0.2",
        NOTIFICATIONS_TOKEN_SECRET=SECRET,
    )
    server, url = running.servers[0], running.nginx.url
    running.servers[1].stop()  # without Redis, commands must arrive at the same process
    made = server.manage("shell", "-v", "0", "-c", TOKEN).stdout.strip()
    with JavaScript(
        [(transport, f"{url}/connection/{transport}")],
        trusting=True,
        token=made,
        emulationEndpoint=f"{url}/emulation",
    ) as client:
        client.connected()
        time.sleep(6)  # twice as long as nginx waits for a quiet server: pings have to come
        server.manage("notify", "reader", "one")
        client.wait(lambda: client.count("publication") == 1, "one")
        assert client.call("rpc", "unread", {})["data"]["unread"] >= 1
        assert client.count("connecting") == 1


TOKEN = """
from django.contrib.auth import get_user_model
from notifications.connect.tokens import make_token
print(make_token(get_user_model().objects.get(username="reader")))
"""

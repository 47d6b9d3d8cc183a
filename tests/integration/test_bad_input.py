"""Bad input is answered or ends its connection, and does not affect other clients (P7)."""

import json
import socket
import struct
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import jwt
import pytest
from websockets.exceptions import ConnectionClosed

from tests.client import Client
from tests.integration import jobs
from tests.integration.places import SECRET, Person, Place

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("bystander")]


#: The code of a connection without a close frame: daphne cuts it where uvicorn sends one.
CUT = 1006


@pytest.fixture(scope="module", autouse=True)
def silent(shared_place: Place) -> Iterator[Client]:
    """A socket that sends nothing while all other tests run."""
    client = Client(shared_place.server.socket_url).open()
    yield client
    client.close()


def codes_by_request(client: Client, requests: Iterable[dict]) -> dict[str, int | None]:
    """Return the error code of each request, and assert that the connection stays open."""
    codes = {}
    for request in requests:
        reply = client.ask(**request)
        codes[json.dumps(request)[:80]] = reply.get("error", {}).get("code")
        assert client.closed is None
    assert "ping" in client.ask(ping={})
    return codes


def code_after(place: Place, frame: str, person: Person | None) -> int:
    """Send a frame over a new socket, connected if ``person`` is given; return the close code."""
    client = place.client(person)
    client.connect() if person else client.open()
    client.send_text(frame)
    return client.wait_closed()


def command(command_id: int, **request: object) -> str:
    return json.dumps({"id": command_id, **request})


BAD_FRAMES = [
    "{",
    "nonsense",
    "[]",
    "1",
    '"text"',
    "null",
    '{"id":1,"connect":{}',
    '{"id":-1,"ping":{}}',
    '{"id":"1","ping":{}}',
    '{"id":4294967296,"ping":{}}',
    '{"id":1.5,"ping":{}}',
    '{"id":NaN}',
    '{"ping":{}}',
    '{"rpc":{"method":"unread"}}',
    '{"subscribe":{"channel":7}}',
    "[" * 60_000,
    '{"id":1,"rpc":{"data":' + "[" * 30_000 + "]" * 30_000 + "}}",
    '{"id":1,"ping":{}}\n{',
]


def test_a_frame_that_is_no_valid_command_ends_the_connection(place: Place) -> None:
    person = place.person()
    got = {frame[:60]: code_after(place, frame, person) for frame in BAD_FRAMES}
    assert got == dict.fromkeys(got, 3501)
    assert len(got) == len(BAD_FRAMES)


@pytest.mark.parametrize("value", [r'"user:\ud800"', "NaN", "-Infinity"])
def test_a_command_that_only_javascript_or_python_takes_for_json_is_answered(
    place: Place, value: str
) -> None:
    client = place.connected(place.person())
    client.send_text(f'{{"id":9,"history":{{"channel":{value}}}}}')
    client.wait(lambda: client.reply_codes() == [107], "an error")
    assert "ping" in client.ask(ping={})


def test_empty_frames_are_ignored(place: Place) -> None:
    client = place.connected(place.person())
    for frame in ("", "\n", "\n\n \n"):
        client.send_text(frame)
        assert "ping" in client.ask(ping={})


BAD_REQUESTS: list[dict] = [
    {"rpc": {"method": 7}},
    {"rpc": {"method": "read", "data": {"ids": "all"}}},
    {"rpc": {"method": "read", "data": {"ids": [1.5]}}},
    {"rpc": {"method": "read", "data": {"ids": [None]}}},
    {"rpc": {"method": "read", "data": {}}},
    {"rpc": {"method": "read", "data": []}},
    {"rpc": {"method": "read", "data": {"ids": list(range(1001))}}},
    {"rpc": {"method": "inbox", "data": {"folder": "spam"}}},
    {"rpc": {"method": "inbox", "data": {"limit": 0}}},
    {"rpc": {"method": "inbox", "data": {"limit": 10**30}}},
    {"rpc": {"method": "inbox", "data": {"before": "yesterday"}}},
    {"rpc": {"method": "inbox", "data": {"before": "2020-01-01T00:00:00Z_" + "9" * 30}}},
    {"rpc": {"method": "ack", "data": {"channel": "broadcast", "offset": 10**12}}},
    {"rpc": {"method": "ack", "data": {"channel": "broadcast", "offset": -1}}},
    {"rpc": {"method": "ack", "data": {"channel": "topic:unknown", "offset": 0}}},
    {"rpc": {"method": "ack", "data": {"channel": None, "offset": 0}}},
    {"subscribe": {"channel": 7}},
    {"subscribe": {"channel": "topic:x", "recover": True, "offset": -1}},
    {"subscribe": {"channel": "topic:x", "recover": True, "offset": 2**63}},
    {"subscribe": {"channel": "x" * 256}},
    {"subscribe": []},
    {"history": {"channel": "broadcast", "limit": "many"}},
    {"history": {"channel": "broadcast", "since": 5}},
    {"publish": {"channel": "broadcast", "data": "text"}},
    {"publish": {"channel": "broadcast", "data": {"title": 7}}},
    {"publish": {"channel": "broadcast"}},
    {"publish": {"channel": "broadcast", "data": {"title": "x", "unknown": 1}}},
    {"refresh": {}},
]


def test_wrong_types_and_values_are_answered_with_an_error(place: Place) -> None:
    got = codes_by_request(place.connected(place.person()), BAD_REQUESTS)
    assert got == dict.fromkeys(got, 107)
    assert len(got) == len(BAD_REQUESTS)


BAD_NOTIFICATIONS: list[tuple[dict, str]] = [
    ({"title": ""}, "title"),
    ({"title": "x" * 201}, "title"),
    ({"title": "a\x00b"}, "title"),
    ({"title": "x", "body": "x" * 10_001}, "body"),
    ({"title": "x", "url": "javascript:alert(1)"}, "url"),
    ({"title": "x", "kind": "No Slug"}, "kind"),
    ({"title": "x", "level": "fatal"}, "level"),
    ({"title": "x", "data": {"a": "x" * 20_000}}, "data"),
    ({"title": "x", "key": "k" * 201}, "key"),
]


def test_the_error_of_a_bad_notification_names_the_field(place: Place) -> None:
    client = place.connected(place.person(permissions=("send_broadcast",)))
    for data, field in BAD_NOTIFICATIONS:
        error = client.ask(publish={"channel": "broadcast", "data": data})["error"]
        assert error == {"code": 107, "message": f"bad request: {field}"}


REFUSED: list[tuple[dict, int]] = [
    ({"teleport": {}}, 104),
    ({}, 104),
    ({"rpc": {"method": "teleport"}}, 104),
    ({"rpc": {}}, 104),
    ({"presence": {"channel": "broadcast"}}, 108),
    ({"presence_stats": {"channel": "broadcast"}}, 108),
    ({"sub_refresh": {"channel": "broadcast", "token": "x"}}, 108),
    ({"subscribe": {"channel": "nonsense"}}, 102),
    ({"subscribe": {"channel": ""}}, 102),
    ({"subscribe": {"channel": "user:"}}, 102),
    ({"subscribe": {"channel": "group:-1"}}, 102),
    ({"subscribe": {"channel": "group:" + "9" * 40}}, 102),
    ({"subscribe": {"channel": "topic:a b"}}, 102),
    ({"subscribe": {"channel": "topic:../../etc/passwd"}}, 102),
    ({"subscribe": {"channel": "topic:\u0000"}}, 102),
    ({"subscribe": {"channel": "user:' OR 1=1 --"}}, 103),
    ({"history": {"channel": "broadcast", "since": {"offset": 10**9, "epoch": ""}}}, 112),
    ({"history": {"channel": "broadcast", "since": {"offset": 0, "epoch": "ffff"}}}, 112),
]


def test_unknown_and_forbidden_requests_are_answered_with_an_error(place: Place) -> None:
    client = place.connected(place.person())
    got = codes_by_request(client, [request for request, _ in REFUSED])
    assert got == {json.dumps(request)[:80]: code for request, code in REFUSED}


def test_free_form_messages_do_not_end_the_connection(place: Place) -> None:
    """SDKs let applications ``send`` any data; the server ignores what it does not handle."""
    client = place.connected(place.person())
    values: list[object] = [{"hello": 1}, {"method": "teleport"}, {"method": "read"}, "a", 7, None]
    for data in values:
        client.send_text(json.dumps({"send": {"data": data}}))
    client.send_text("\n".join(['{"send":{"data":{}}}'] * 20))
    assert "ping" in client.ask(ping={})
    assert client.reply_codes() == []


def test_an_id_used_twice_is_answered_with_an_error(place: Place) -> None:
    client = place.connected(place.person())
    client.send_text(command(100, ping={}))
    assert "ping" in client.reply(100)
    client.send_text(command(100, ping={}))
    client.wait(lambda: client.reply_codes() == [107], "an error")
    assert "ping" in client.ask(ping={})


def test_an_id_used_twice_in_one_frame_is_answered_with_an_error(place: Place) -> None:
    client = place.connected(place.person())
    client.send_text("\n".join([command(50, ping={})] * 3))
    client.wait(lambda: client.reply_codes() == [107], "an error")


def test_a_second_connect_closes_the_connection(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    client.send_text(command(99, connect={"token": person.token}))
    assert client.wait_closed() == 3501


def test_commands_may_follow_connect_in_one_frame(place: Place) -> None:
    """The protocol allows it, and the commands are carried out in order."""
    person = place.person()
    client = place.client(person).open()
    client.send_text(
        command(1, connect={"token": person.token}) + "\n" + command(2, rpc={"method": "unread"})
    )
    assert "connect" in client.reply(1)
    assert client.reply(2)["rpc"]["data"] == {"unread": 0}


@pytest.mark.parametrize("request_", [{"ping": {}}, {"rpc": {"method": "unread"}}])
def test_a_command_before_connect_closes_the_connection(place: Place, request_: dict) -> None:
    client = place.client(place.person()).open()
    client.send_text(command(1, **request_))
    assert client.wait_closed() == 3501


def test_a_frame_that_is_too_large_closes_the_connection(place: Place) -> None:
    for person in (None, place.person()):
        for size in (65_537, 300_000):
            code = code_after(place, "x" * size, person)
            assert code == (1009 if place.command == "serve" else CUT)


def test_the_largest_allowed_frame_is_accepted(place: Place) -> None:
    client = place.connected(place.person())
    text = command(77, rpc={"method": "unread", "data": {"x": ""}})
    client.send_text(text.replace('""', '"' + "x" * (65_536 - len(text)) + '"'))
    assert client.reply(77)["rpc"]["data"] == {"unread": 0}


def test_a_fragmented_message_that_is_too_large_closes_the_connection(place: Place) -> None:
    client = place.connected(place.person())
    with suppress(ConnectionClosed):  # the server closes before all is sent
        client.socket.send("x" * 10_000 for _ in range(20))
    # Daphne passes the message on to the app, which closes with its own code.
    assert client.wait_closed() == (1009 if place.command == "serve" else 3501)


def test_a_binary_frame_closes_the_connection(place: Place) -> None:
    client = place.connected(place.person())
    client.send_bytes(b"\x00\xff\x01")
    assert client.wait_closed() == 3506


def test_invalid_utf8_closes_the_connection(place: Place) -> None:
    client = place.connected(place.person())
    client.send_bytes(b'{"id":5,"rpc":{"method":"\xff\xfe"}}', text=True)
    assert client.wait_closed() == (1007 if place.command == "serve" else CUT)


def test_bytes_that_are_no_frame_close_the_connection(place: Place) -> None:
    client = place.connected(place.person())
    client.socket.socket.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    assert client.wait_closed() in {1002, 1006}


def test_a_connection_reset_is_harmless(place: Place) -> None:
    for _ in range(5):
        client = place.connected(place.person())
        tcp = client.socket.socket
        # With this option, closing sends RST instead of FIN.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.send_text(command(1000, rpc={"method": "inbox", "data": {}}))
        client.drop()


def test_thousands_of_commands_at_once_close_the_connection(place: Place) -> None:
    """Commands are answered, then refused as temporary, then closed; other users do not wait."""
    person = place.person()
    elsewhere = place.connected(person)
    client = place.connected(place.person())
    lines = [command(number, rpc={"method": "unread"}) for number in range(1000, 6000)]
    with suppress(ConnectionClosed):  # the server closes with 3013
        for start in range(0, len(lines), 500):
            client.send_text("\n".join(lines[start : start + 500]))
    place.other.run(jobs.notify_user, person.id, ["meanwhile"])
    elsewhere.wait_for_titles(["meanwhile"])
    assert client.wait_closed() == 3013
    codes = client.reply_codes()
    assert set(codes) == {111}
    assert len(codes) <= 1001


def test_a_hundred_commands_at_once_are_answered(place: Place) -> None:
    client = place.connected(place.person())
    client.send_text("\n".join(command(n, rpc={"method": "unread"}) for n in range(1000, 1100)))
    for number in range(1000, 1100):
        assert "rpc" in client.reply(number)


def test_too_many_connections_of_one_user_are_refused(place: Place) -> None:
    person = place.person()
    for _ in range(100):
        place.connected(person)
    last = place.client(person).open()
    last.send_text(command(1, connect={"token": person.token}))
    assert last.wait_closed() == 3504


# Credentials


def sign(claims: dict, secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


def unsigned(claims: dict) -> str:
    def part(value: dict) -> str:
        return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


BAD_TOKENS: list[Callable[[str], str]] = [
    lambda sub: sign({"sub": sub}, "another-secret-that-is-long-enough-too"),
    lambda sub: unsigned({"sub": sub}),
    lambda sub: sign({"sub": sub}, algorithm="HS512"),
    lambda sub: sign({"user": sub}),
    lambda sub: sign({"sub": "999999999"}),
    lambda sub: sign({"sub": "9" * 50}),
    lambda sub: sign({"sub": "admin"}),
    lambda sub: sign({"sub": ""}),
    lambda sub: sign({"sub": sub, "nbf": int(time.time()) + 1000}),
    lambda sub: sign({"sub": sub})[:-3],
    lambda sub: "a.b.c",
    lambda sub: "x" * 10_000,
    lambda sub: "\u0000",
]


def test_a_bad_token_closes_the_connection(place: Place) -> None:
    person = place.person()
    for make in BAD_TOKENS:
        token = make(str(person.id))
        assert code_after(place, command(1, connect={"token": token}), None) == 3500, token


def test_an_expired_token_is_answered_with_an_error(place: Place) -> None:
    person = place.person()
    client = place.client(person)
    client.token = sign({"sub": str(person.id), "exp": int(time.time()) - 1})
    client.open()
    assert client.try_connect()["error"] == {"code": 109, "message": "token expired"}
    client.token = person.token
    assert "connect" in client.try_connect()


def test_a_token_of_a_deleted_user_closes_the_connection(place: Place) -> None:
    person = place.person()
    place.other.run(jobs.delete_user, person.id)
    client = place.client(person).open()
    client.send_text(command(1, connect={"token": person.token}))
    assert client.wait_closed() == 3500


def test_a_bad_cookie_is_answered_with_an_error(place: Place) -> None:
    for cookie in ("sessionid=nonsense", "sessionid=", "sessionid=a;sessionid=b", ";;;=", '"'):
        client = place.client(cookie=cookie).open()
        assert client.try_connect()["error"]["code"] == 101


# Origins


def test_a_page_of_another_site_is_refused(place: Place) -> None:
    own, _, port = place.server.url.rpartition(":")
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1.evil.example",
        "file://",
        f"https://127.0.0.1:{port}",
        f"http://localhost:{port}",
        own,
        f"{own}:1",
    ):
        assert place.client(origin=origin).refused() == 403


def test_own_pages_and_native_clients_are_accepted(place: Place) -> None:
    person = place.person()
    for origin in (None, place.server.url):
        place.connected(person, origin=origin)


def test_a_silent_socket_is_closed(silent: Client) -> None:
    """A socket that never connects is closed after 10 s."""
    assert silent.wait_closed() == 3502
    assert silent.closed is not None
    assert silent.closed.at - silent.opened_at > 9

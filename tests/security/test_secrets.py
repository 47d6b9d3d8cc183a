"""Secrets do not appear in the log, even with all that the servers can log (P7)."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration import jobs
from tests.integration.places import SECRET, Place, open_place
from tests.raw import TEXT, RawSocket, frame
from tests.sites import Site

pytestmark = pytest.mark.integration

PRIVATE = "a-private-text"


@pytest.fixture(params=["serve", "runserver"])
def place(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Place]:
    """A site in debug mode, which logs every request and every socket."""
    with open_place(site, tmp_path, request.param, DEBUG="1") as place:
        yield place


def test_the_log_contains_no_token_cookie_text_password_or_key(place: Place) -> None:
    person = place.person(permissions=("send_private",), password="a-private-password")
    cookie = place.server.login(person.name, "a-private-password")
    expired = place.other.run(jobs.token_of, person.id, -5)
    forged = person.token[:-4] + "AAAA"

    for token in ("", forged, expired, PRIVATE):
        client = place.client(token=token).open()
        client.send_text(json.dumps({"id": 1, "connect": {"token": token, "name": PRIVATE}}))
        with suppress(ConnectionClosed):  # it may have been closed for the token already
            client.send_text(json.dumps({"id": 2, "ping": {}}))
        client.wait_closed()
    client = place.connected(person, cookie=cookie)
    for request in (
        {"publish": {"channel": person.channel, "data": {"title": PRIVATE, "body": PRIVATE}}},
        {"publish": {"channel": person.channel, "data": {"title": 7, "body": PRIVATE}}},
        {"publish": {"channel": person.channel, "data": {"title": "x", "url": f"java:{PRIVATE}"}}},
        {"rpc": {"method": PRIVATE, "data": PRIVATE}},
        {"rpc": {"method": "read", "data": {"ids": PRIVATE}}},
        {"subscribe": {"channel": PRIVATE, "token": person.token}},
        {"history": {"channel": f"topic:{PRIVATE}"}},
    ):
        client.ask(**request)
    client.wait_for_titles([PRIVATE])
    client.send_text(f'{{"{PRIVATE}')
    client.wait_closed()
    page = urllib.request.Request(f"{place.server.url}/", headers={"Cookie": cookie})
    urllib.request.urlopen(page, timeout=10).close()
    with RawSocket(place.server, [f"Cookie: {cookie}", f"Authorization: {PRIVATE}"]) as socket:
        socket.send(frame(TEXT, PRIVATE.encode(), reserved=7))
        socket.close_code()
    key = place.server.manage(
        "make_api_key", PRIVATE, "--method=publish", f"--channel={person.channel}"
    ).stdout.strip()
    for presented in (key, key[:-1], f"{PRIVATE}-key"):
        for channel, title in ((person.channel, PRIVATE), (PRIVATE, ""), (person.channel, 7)):
            body = json.dumps({"channel": channel, "data": {"title": title, "body": PRIVATE}})
            call = urllib.request.Request(
                f"{place.server.url}/api/publish", body.encode(), {"X-API-Key": presented}
            )
            with suppress(urllib.error.HTTPError):  # 401
                urllib.request.urlopen(call, timeout=10).close()
    place.tidy()

    log = place.log
    assert "/api/publish" in log
    assert "/connection/websocket" in log, "nothing was logged at all"
    parts = [part.partition("=")[2] for part in cookie.split("; ")]
    kinds = {
        "a token": [person.token, expired, forged],
        "a cookie": parts,
        "a text": [PRIVATE],
        "a password": ["a-private-password"],
        "a key": [SECRET, place.env["SECRET_KEY"], key, key[:-1]],
    }
    found = [kind for kind, secrets in kinds.items() if any(text in log for text in secrets)]
    assert found == []

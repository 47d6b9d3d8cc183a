"""Who may send requests to the transports, and how bad requests are answered."""

import logging
from typing import Any

import pytest

from notifications.database.lanes import in_database
from notifications.hub import Hub
from tests.peers import log_in, running_hub
from tests.transports.requests import Emulated, Request, answered

pytestmark = pytest.mark.django_db(transaction=True)

PATHS = [
    "/connection/http_stream",
    "/connection/sse",
    "/connection/uni_sse",
    "/connection/uni_http_stream",
    "/emulation",
]

FOREIGN = (b"origin", b"https://evil.example")
OWN = (b"origin", b"http://testserver")


@pytest.mark.parametrize("path", PATHS)
async def test_a_foreign_page_is_refused_and_may_not_read_the_answer(
    hub: Hub, user: Any, path: str
) -> None:
    key = await in_database(log_in, user)
    cookie = (b"cookie", f"sessionid={key}".encode())
    request = await answered(path, {"id": 1, "connect": {}}, headers=[FOREIGN, cookie])
    assert request.error == (403, 403)
    assert not any(name.startswith("access-control") for name in request.headers)
    preflight = await answered(path, method="OPTIONS", headers=[FOREIGN])
    assert preflight.status == 403
    assert not hub.connections.all


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_of_an_allowed_origin_may_send_and_read(settings: Any, path: str) -> None:
    origin = b"https://app.example"
    async with running_hub(settings, ALLOWED_ORIGINS=["https://app.example"]):
        preflight = await answered(path, method="OPTIONS", headers=[(b"origin", origin)])
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert preflight.headers["access-control-allow-credentials"] == "true"
        assert "Content-Type" in preflight.headers["access-control-allow-headers"]
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert preflight.headers["vary"] == "Origin"
        refused = await answered(path, b"[" * 9, headers=[(b"origin", origin)], method="PATCH")
        assert refused.error == (405, 405)
        assert refused.headers["access-control-allow-origin"] == "https://app.example"


async def test_an_open_response_may_be_read_by_its_page_only(hub: Hub, token: str) -> None:
    client = await Emulated.connect(token, headers=[OWN])
    assert client.stream.headers["access-control-allow-origin"] == "http://testserver"
    assert client.stream.headers["vary"] == "Origin"
    await client.stream.end()


@pytest.mark.parametrize("site", [b"cross-site", b"same-site"])
async def test_a_link_of_another_site_opens_nothing(hub: Hub, user: Any, site: bytes) -> None:
    """Browsers send no Origin with a link or an image, but cookies."""
    key = await in_database(log_in, user)
    headers = [(b"cookie", f"sessionid={key}".encode()), (b"sec-fetch-site", site)]
    request = await answered("/connection/uni_sse", method="GET", headers=headers)
    assert request.error == (403, 403)
    own = Request("/connection/uni_sse", method="GET", headers=[headers[0]])
    await own.message("connect")
    await own.end()


async def test_a_foreign_host_is_refused(hub: Hub, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["other.example"]
    request = await answered("/emulation", {})
    assert request.error == (403, 403)


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_is_too_large_is_not_kept(settings: Any, path: str) -> None:
    async with running_hub(settings, MAX_FRAME_SIZE=1000):
        request = Request(path, None)
        for _ in range(5):
            request.send_body(b"x" * 1000, more=True)
        await request.ended()
        assert request.error == (413, 413)


async def test_a_body_that_does_not_arrive_is_given_up(settings: Any) -> None:
    async with running_hub(settings, CONNECT_TIMEOUT=0.05):
        request = Request("/connection/http_stream", None)
        request.send_body(b"{", more=True)
        assert (await request.ended()).error == (408, 408)


async def test_a_client_that_goes_before_its_body_is_complete_leaves_nothing(hub: Hub) -> None:
    request = Request("/connection/http_stream", None)
    request.send_body(b"{", more=True)
    await request.end()
    assert request.status == 0
    assert not hub.connections.addresses.by_address


async def test_methods_that_a_transport_does_not_have_are_named(hub: Hub) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert (await answered("/emulation", method=method)).error == (405, 405)
    assert (await answered("/connection/sse", method="PUT")).error == (405, 405)


async def test_an_unexpected_error_is_answered_with_500_and_logged(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(hub.emulation, "take", fail)
    body = {"session": "s", "node": hub.emulation.node, "data": "a secret"}
    assert (await answered("/emulation", body)).error == (500, 500)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "a secret" not in caplog.text


async def test_the_scheme_of_a_page_must_be_that_of_the_request(hub: Hub) -> None:
    for origin, status in ((b"https://testserver", 400), (b"http://testserver", 403)):
        request = Request("/emulation", headers=[(b"origin", origin)])
        request.scope |= {"scheme": "https", "server": ("testserver", 443)}
        assert (await request.ended()).status == status

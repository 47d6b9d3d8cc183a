"""Which requests are the app's, and which are left to the host as they are."""

from typing import Any, cast

import pytest
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.urls import path as route

import notifications.routing
from notifications.asgi import compose
from notifications.hub import Hub
from notifications.paths import DEFAULTS
from tests.peers import running_hub
from tests.transports.requests import Emulated, answered

pytestmark = pytest.mark.django_db(transaction=True)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class Host:
    """The site of the host; it keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append((scope, receive, send))


async def reaches_host(path: str, method: str = "GET", **fields: Any) -> bool:
    """Send a request, and return whether the host got it, as the server passed it on."""
    host = Host()
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "scheme": "http",
        "query_string": b"cf_connect=%7B%7D",
        "headers": [(b"host", b"evil.example"), (b"origin", b"https://evil.example")],
        "server": ("testserver", 80),
        **fields,
    }
    given = {**scope}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Any) -> None:
        return None

    await compose(host, ())(scope, receive, send)
    if not host.calls:
        return False
    ((got, *channels),) = host.calls
    assert got is scope
    assert got == given
    assert channels == [receive, send]
    return True


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/emulation", "/connection/sse", "/streams/user:7"])
async def test_a_path_of_a_transport_is_the_apps_whatever_the_method(
    hub: Hub, path: str, method: str
) -> None:
    assert not await reaches_host(path, method)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "*", "/emulation/", "//emulation", "/emulation/x", "/emulations", "/Emulation"),
        *("/en/emulation", "/emulation\n", "emulation"),
        *("/connection", "/connection/", "/connection/sse/", "/connection/sse/x"),
        *("/connection//sse", "/connection/websocket", "/connection/uni_websocket"),
        *("/streams", "/streams/", "//streams/user:7", "/streamside"),
    ],
)
async def test_a_request_for_any_other_path_reaches_the_host_as_it_is(hub: Hub, path: str) -> None:
    for method in METHODS:
        assert await reaches_host(path, method)


@pytest.mark.parametrize("name", [name for name in DEFAULTS if "websocket" not in name])
async def test_a_transport_that_is_off_leaves_its_path_to_the_host(
    settings: Any, name: str
) -> None:
    own = "/live/here/user:7" if name == "streams" else "/live/here"
    usual = DEFAULTS[name] or "/streams/user:7"
    others = {"http_stream": None, "sse": None} if name == "emulation" else {}
    async with running_hub(settings, TRANSPORTS={name: "/live/here"}):
        assert not await reaches_host(own)
        assert await reaches_host(usual)
    async with running_hub(settings, TRANSPORTS={name: None, **others}):
        assert await reaches_host(own)
        assert await reaches_host(usual)


async def test_the_prefix_of_the_site_may_have_been_removed(settings: Any) -> None:
    async with running_hub(settings, TRANSPORTS={"emulation": "/live/emulation"}):
        for path, is_ours in (
            ("/portal/live/emulation", True),
            ("/live/emulation", True),
            ("/portals/live/emulation", False),
            ("/portal/portal/live/emulation", False),
            ("/portal/emulation", False),
        ):
            assert await reaches_host(path, root_path="/portal") is not is_ours
            settings.FORCE_SCRIPT_NAME = "/portal"
            assert await reaches_host(path) is not is_ours
            settings.FORCE_SCRIPT_NAME = None


async def test_a_client_uses_transports_that_were_moved(
    hub: Hub, settings: Any, token: str
) -> None:
    moved = {"http_stream": "/live/lines", "emulation": "/live/send/"}
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "TRANSPORTS": moved}
    client = await Emulated.connect(token, paths=moved)
    assert (await client.call(rpc={"method": "unread"}))["rpc"]["data"] == {"unread": 0}
    await client.stream.end()


async def refused(path: str, more: Any = ()) -> bool:
    communicator = WebsocketCommunicator(compose(Host(), more), path)
    accepted, _ = await communicator.connect(timeout=5)
    await communicator.disconnect()
    return not accepted


async def test_sockets_move_and_end_too(settings: Any) -> None:
    async with running_hub(settings, TRANSPORTS={"websocket": "/ws/", "uni_websocket": None}):
        assert not await refused("/ws/")
        for path in ("/ws", "//ws/", "/connection/websocket", "/connection/uni_websocket"):
            assert await refused(path)
        # Neither does a socket open at the path of a request.
        assert await refused("/emulation")


async def test_a_path_that_is_free_can_be_one_of_the_hosts_own_consumers(settings: Any) -> None:
    async def consumer(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await receive()

    own = [route("connection/uni_websocket", cast(Any, consumer))]
    async with running_hub(settings, TRANSPORTS={"uni_websocket": None}):
        assert not await refused("/connection/uni_websocket", own)


async def test_hosts_that_put_the_parts_together_get_routes_to_what_is_on(settings: Any) -> None:
    async with running_hub(settings, TRANSPORTS={"websocket": "/ws/", "uni_websocket": None}):
        (pattern,) = notifications.routing.websocket_urlpatterns
        assert str(pattern.pattern) == "ws/"
        router = URLRouter(notifications.routing.websocket_urlpatterns)
        communicator = WebsocketCommunicator(router, "/ws/")
        assert (await communicator.connect(timeout=5))[0]
        await communicator.disconnect()


async def test_answers_name_the_methods_and_have_no_body_for_head(hub: Hub) -> None:
    for path, allowed in (
        ("/emulation", "POST, OPTIONS"),
        ("/connection/http_stream", "POST, OPTIONS"),
        ("/connection/sse", "GET, POST, OPTIONS"),
        ("/connection/uni_sse", "GET, POST, OPTIONS"),
    ):
        refused = await answered(path, method="PUT")
        assert (refused.error, refused.headers["allow"]) == ((405, 405), allowed)
        asked = await answered(path, method="OPTIONS")
        assert (asked.status, asked.headers["allow"]) == (204, allowed)
        head = await answered(path, method="HEAD")
        assert (head.status, head.body) == (405, b"")

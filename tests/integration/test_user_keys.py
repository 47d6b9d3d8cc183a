"""A site with ``ATOMIC_REQUESTS`` whose users have non-numeric primary keys."""

import re
import urllib.parse
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.client import Client
from tests.servers import Server
from tests.sites import Site, manage, site_environment

pytestmark = pytest.mark.integration


def send(server: Server, cookie: str, recipient: str, title: str) -> None:
    """Send a private notification through the form of the home page."""

    def ask(path: str, data: bytes | None = None) -> str:
        request = urllib.request.Request(f"{server.url}{path}", data, {"Cookie": cookie})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())

    fields = dict(re.findall(r'name="(csrfmiddlewaretoken|private-key)" value="([^"]+)"', ask("/")))
    words = {"recipient": recipient, "title": title, "body": "", "url": "", "level": "info"}
    fields |= {"form": "private", **{f"private-{name}": value for name, value in words.items()}}
    ask("/send/", urllib.parse.urlencode(fields).encode())


@pytest.mark.parametrize("kind", ["text", "uuid"])
def test_non_numeric_user_keys_and_atomic_requests(kind: str, site: Site, directory: Path) -> None:
    env = site_environment(
        directory,
        DJANGO_SETTINGS_MODULE="tests.integration.keyed.settings",
        STATIC_ROOT=str(site.static_root),
        USER_KEY=kind,
    )
    manage("migrate", "--run-syncdb", "--verbosity", "0", env=env)
    manage("createdemo", env={**env, "DEBUG": "1"})
    server = Server(directory, env).start()
    try:
        writer, reader = server.login("writer"), server.login("reader")
        client = Client(server.socket_url, cookie=reader)
        with closing(client):
            greeting = client.connect()
            (own,) = [name for name in greeting["subs"] if name.startswith("user:")]
            assert own == f"user:{greeting['data']['user']['id']}"
            assert own.startswith("user:Ключ: ") or kind == "uuid"
            send(server, writer, "reader", "from a page")
            client.wait_for_titles(["from a page"])
            sender = Client(server.socket_url, cookie=writer)
            with closing(sender):
                sender.connect()
                reply = sender.ask(publish={"channel": own, "data": {"title": "from a socket"}})
                assert "publish" in reply, reply
            client.wait_for_titles(["from a page", "from a socket"])
            assert client.rpc("unread")["unread"] == 2
            client.rpc("read", ids=[one.data["id"] for one in client.publications])
            assert client.rpc("unread")["unread"] == 0
            client.drop()
            manage("notify", "reader", "while away", env=env)
            assert client.connect()["subs"][own]["recovered"]
            client.wait_for_titles(["from a page", "from a socket", "while away"])
            assert client.violations == []
        assert "Traceback" not in server.log
    finally:
        server.kill()

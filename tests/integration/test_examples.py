"""Each project in examples/ is small, and does what its README says."""

import base64
import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import Client
from tests.examples import EXAMPLES, GUEST, prepare
from tests.integration.processes import Redis
from tests.postgres import Postgres
from tests.servers import Server
from tests.wheels import borrowing_environment

pytestmark = [pytest.mark.integration, pytest.mark.hosts]

#: Lines of code and templates that an example has at most, without blank ones.
MOST_LINES = 150


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return borrowing_environment(tmp_path_factory.mktemp("examples") / "venv", wheel)


@pytest.fixture
def plain(python: Path, tmp_path: Path) -> Iterator[Server]:
    server = prepare("plain", tmp_path, python)
    yield server.start()
    server.kill()


@pytest.fixture
def tasks(python: Path, redis: Redis, tmp_path: Path) -> Iterator[Server]:
    """The API with its Celery worker; the replica is the primary database itself."""
    postgres = Postgres().start()
    worker = None
    server = None
    try:
        urls = {"DATABASE_URL": postgres.url, "REPLICA_URL": postgres.url, "REDIS_URL": redis.url}
        server = prepare("tasks", tmp_path, python, **urls)
        worker = subprocess.Popen(
            [
                python,
                "-m",
                "celery",
                "-A",
                "shop",
                "worker",
                "--pool",
                "solo",
                "--concurrency",
                "1",
            ],
            cwd=tmp_path / "tasks",
            env=server.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield server.start()
    finally:
        if worker is not None:
            worker.kill()
            worker.wait()
        if server is not None:
            server.kill()
        postgres.close()


@pytest.mark.parametrize("name", ["plain", "tasks", "pages"])
def test_an_example_is_short(name: str) -> None:
    files = [path for path in (EXAMPLES / name).rglob("*") if path.suffix in (".py", ".html")]
    lines = [line for path in files for line in path.read_text().splitlines() if line.strip()]
    assert 0 < len(lines) < MOST_LINES


def post(server: Server, path: str, cookie: str) -> str:
    """Send the form that the orders page shows for this path, and return the page after it."""
    page = get(server, "/", cookie)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None
    data = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1]}).encode()
    request = urllib.request.Request(f"{server.url}{path}", data, {"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def get(server: Server, path: str, cookie: str) -> str:
    request = urllib.request.Request(f"{server.url}{path}", headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_shipping_an_order_of_the_plain_example_notifies_its_owner(plain: Server) -> None:
    cookie = plain.login(GUEST)
    client = Client(plain.socket_url, cookie=cookie, origin=plain.url)
    client.connect()
    assert "Order 1" in post(plain, "/", cookie)
    assert client.titles == []
    assert "has shipped" in post(plain, "/1/ship/", cookie)
    client.wait_for_titles(["Order 1 has shipped"])
    assert "notification-bell" in get(plain, "/", cookie)
    client.close()
    assert client.violations == []
    assert "Traceback" not in plain.log


def call(server: Server, path: str, method: str = "POST") -> Any:
    credentials = base64.b64encode(f"{GUEST}:{GUEST}".encode()).decode()
    request = urllib.request.Request(
        f"{server.url}/api/{path}", method=method, headers={"Authorization": f"Basic {credentials}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or "null")


def test_a_task_of_the_api_example_notifies_a_client_with_a_token(tasks: Server) -> None:
    client = Client(tasks.socket_url, token=call(tasks, "token/")["token"])
    client.connect()
    order = call(tasks, "orders/")["id"]
    call(tasks, f"orders/{order}/ship/")
    client.wait_for_titles([f"Order {order} has shipped"])
    assert call(tasks, "orders/", "GET") == [{"id": order, "is_shipped": True}]
    client.close()
    assert client.violations == []
    assert "Traceback" not in tasks.log

"""What all workers of a site have counted, as Prometheus reads it."""

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client import PATIENCE, Client
from tests.servers import Server

pytestmark = pytest.mark.integration


def connections(server: Server) -> int:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(r"^notifications_connections (\S+)$", text, re.MULTILINE)
    assert found, text
    return int(float(found[1]))


def wait_for_connections(server: Server, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while (seen := connections(server)) != count:
        assert time.monotonic() < deadline, f"{seen} connections, not {count}"
        time.sleep(0.1)


def test_any_worker_tells_of_the_connections_of_all(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    # Of a worker that was killed: no process has so high a number.
    (directory / "gauge_livesum_99999999.db").touch()
    running = server(
        args=("--workers", "2"),
        PROMETHEUS_MULTIPROC_DIR=str(directory),
        METRICS_ALLOW="127.0.0.1",
    )
    cookie = running.login("reader")
    clients = [Client(running.socket_url, cookie=cookie) for _ in range(8)]
    for client in clients:
        client.connect()
    wait_for_connections(running, 8)
    for client in clients[:3]:
        client.close()
    wait_for_connections(running, 5)
    for client in clients[3:]:
        client.close()
    assert "Traceback" not in running.log
    assert not (directory / "gauge_livesum_99999999.db").exists()

"""The metrics of all workers of a site, as Prometheus reads them."""

import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client import Client
from tests.servers import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


def read(server: Server, name: str) -> int:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(rf"^notifications_{name} (\S+)$", text, re.MULTILINE)
    assert found, text
    return int(float(found[1]))


def wait_for(server: Server, count: int, name: str = "connections") -> None:
    wait_until(lambda: read(server, name) == count, lambda: f"{name}: {read(server, name)}")


def test_any_worker_reports_the_connections_of_all(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    # The file of a killed worker: no process has such a high id.
    (directory / "gauge_livesum_99999999.db").touch()
    running = server(
        args=("--workers", "2"),
        PROMETHEUS_MULTIPROC_DIR=str(directory),
        METRICS_ALLOW="127.0.0.1",
    )
    wait_for(running, 2, "layer_up")
    cookie = running.login("reader")
    clients = [Client(running.socket_url, cookie=cookie) for _ in range(8)]
    for client in clients:
        client.connect()
    wait_for(running, 8)
    for client in clients[:3]:
        client.close()
    wait_for(running, 5)
    for client in clients[3:]:
        client.close()
    assert "Traceback" not in running.log
    assert not (directory / "gauge_livesum_99999999.db").exists()

"""Publishing from hosts that patch threads: gunicorn and Celery on gevent, with Redis.

An event loop in a patched thread seems to run in every greenlet, so the ORM refuses to work in any.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.integration.places import Place, open_place
from tests.integration.processes import Redis
from tests.postgres import running_postgres
from tests.servers import free_port
from tests.sites import ROOT, Site

pytestmark = pytest.mark.integration

#: Without position checks, all that arrives has come through Redis.
NO_CHECKS = {"NOTIFICATIONS_CHECK_INTERVAL": "3600"}

#: Seconds to wait until a host has started or answered; enough for a busy machine.
PATIENCE = 60

AT_ONCE = 12
EACH = 4

Publish = Callable[[int, str], dict[str, Any]]


@contextmanager
def _database(kind: str) -> Iterator[dict[str, str]]:
    """Yield the environment variables that select the database."""
    if kind == "sqlite":
        yield {}
        return
    with running_postgres() as url:
        yield {"DATABASE_URL": url}


@contextmanager
def running(arguments: list[str], place: Place, broker: str = "") -> Iterator[Path]:
    """Run ``python -m …`` with the place's database and channel layer, and yield its log file."""
    log = place.directory / f"{arguments[0]}.log"
    env = {
        **place.env,
        "DJANGO_SETTINGS_MODULE": "pushsite.settings",
        "BROKER_URL": broker,
        "HOME": str(place.directory),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    try:
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


@contextmanager
def gunicorn(place: Place) -> Iterator[Publish]:
    url = f"http://127.0.0.1:{(port := free_port())}/"
    options = ["-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{port}", "--no-control-socket"]
    with running(["gunicorn", *options, "tests.integration.greenlets:application"], place) as log:

        def ask(query: str = "") -> Any:
            with urllib.request.urlopen(f"{url}?{query}", timeout=PATIENCE) as answer:
                return json.load(answer)

        def publish(user_id: int, title: str) -> dict[str, Any]:
            try:
                return dict(ask(urllib.parse.urlencode({"user": user_id, "title": title})))
            except urllib.error.HTTPError:
                raise AssertionError(log.read_text()) from None

        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                ask()
                break
            except OSError:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield publish


@contextmanager
def celery(place: Place) -> Iterator[Publish]:
    broker = place.env["REDIS_URL"].removesuffix("/0") + "/1"
    options = ["worker", "-P", "gevent", "-c", str(AT_ONCE), "--without-gossip", "--without-mingle"]
    arguments = ["celery", "-A", "tests.integration.greenlets:celery", *options]
    with running(arguments, place, broker), Celery(broker=broker, backend=broker) as app:

        def publish(user_id: int, title: str) -> dict[str, Any]:
            return dict(app.send_task("publish", [user_id, title]).get(timeout=PATIENCE))

        yield publish


# Starting all four combinations takes too long. These two cover both hosts and both databases.
@pytest.mark.parametrize(
    ("host", "database"), [(gunicorn, "sqlite"), (celery, "postgresql")], ids=["gunicorn", "celery"]
)
def test_greenlets_publish_through_hints_and_the_orm_keeps_working(
    host: Callable[[Place], AbstractContextManager[Publish]],
    database: str,
    site: Site,
    redis: Redis,
    directory: Path,
) -> None:
    titles = [f"{number}" for number in range(AT_ONCE * EACH)]
    with (
        _database(database) as variables,
        open_place(site, directory, REDIS_URL=redis.url, **NO_CHECKS, **variables) as place,
        host(place) as publish,
    ):
        person = place.person()
        client = place.connected(person)
        assert publish(person.id, "first")["rose"]
        client.wait_for_titles(["first"])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda title: publish(person.id, title), titles))
        client.wait_for_count(1 + len(titles))
    assert all(answer["is_greenlet"] for answer in answers)
    assert len({answer["process"] for answer in answers}) == 1
    assert sorted(client.titles) == sorted(["first", *titles])

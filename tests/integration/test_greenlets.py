"""Publishing from hosts that patch threads: gunicorn and Celery on gevent, with Redis.

A loop that runs in a patched thread runs for every greenlet, and the ORM refuses all of them.
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
from tests.servers import ROOT, Site, free_port

pytestmark = pytest.mark.integration

#: No position check comes to help: what arrives has come through Redis.
NEVER = {"NOTIFICATIONS_CHECK_INTERVAL": "3600"}

#: Seconds until a host has started and answers, on a busy machine.
PATIENCE = 60

AT_ONCE = 12
EACH = 4

Publish = Callable[[int, str], dict[str, Any]]


@contextmanager
def _database(kind: str) -> Iterator[dict[str, str]]:
    """Variables that name it."""
    if kind == "sqlite":
        yield {}
        return
    with running_postgres() as url:
        yield {"DATABASE_URL": url}


@contextmanager
def running(arguments: list[str], place: Place, broker: str = "") -> Iterator[Path]:
    """Run ``python -m …`` on the database and channel layer of the place; gives its log."""
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


# Starting all four pairs takes too long; those left out differ in nothing that these do not show.
@pytest.mark.parametrize(
    ("host", "database"), [(gunicorn, "sqlite"), (celery, "postgresql")], ids=["gunicorn", "celery"]
)
def test_what_greenlets_publish_arrives_by_a_hint_and_the_orm_goes_on_working(
    host: Callable[[Place], AbstractContextManager[Publish]],
    database: str,
    site: Site,
    redis: Redis,
    directory: Path,
) -> None:
    titles = [f"{number}" for number in range(AT_ONCE * EACH)]
    with (
        _database(database) as variables,
        open_place(site, directory, REDIS_URL=redis.url, **NEVER, **variables) as place,
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

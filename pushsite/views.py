"""Views for monitoring: the health of this process, and its metrics."""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead


@require_safe
@never_cache
def health(request: HttpRequest) -> HttpResponse:
    """Answer 200 if the database can be queried, else 503.

    The channel layer is not checked, because notifications are delivered without it, too.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return HttpResponse(f"database: {type(error).__name__}\n", "text/plain", status=503)
    return HttpResponse("ok\n", "text/plain")


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Show the metrics in the text format of Prometheus, to staff and to ``METRICS_ALLOW``.

    They are those of this process or, with ``PROMETHEUS_MULTIPROC_DIR``, of all processes that
    share the directory.

    Raises:
        PermissionDenied: the user is not staff, and the address is not in ``METRICS_ALLOW``.
    """
    if not (_is_allowed(request.META.get("REMOTE_ADDR", "")) or _is_staff(request)):
        raise PermissionDenied
    return HttpResponse(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)


def _is_staff(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_staff)


def _is_allowed(address: str) -> bool:
    try:
        client = ip_address(address)
    except ValueError:
        return False
    return any(client in network for network in settings.METRICS_ALLOW)


def _registry() -> CollectorRegistry:
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not directory:
        return REGISTRY
    for pid in _dead_processes(Path(directory)):
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _dead_processes(directory: Path) -> Iterator[int]:
    """Ids of dead processes that have left live gauges, such as counts of connections."""
    for path in directory.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            yield pid
        except PermissionError:
            continue  # the process runs as another user

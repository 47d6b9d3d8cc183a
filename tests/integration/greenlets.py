"""A host that runs on gevent: gunicorn serves ``application``, Celery runs ``celery``'s tasks."""

import json
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

import django
from celery import Celery
from gevent.monkey import is_module_patched

django.setup()

from django.db import close_old_connections  # noqa: E402

from tests.integration import jobs  # noqa: E402 - models cannot load before

celery = Celery("greenlets", broker=os.environ.get("BROKER_URL"))
celery.conf.update(result_backend=os.environ.get("BROKER_URL"), broker_connection_retry=True)


def publish(user_id: int, title: str) -> dict[str, Any]:
    """Notify the user, with ORM queries before and after it."""
    before = jobs.unread(user_id)
    jobs.notify_user(user_id, [title])
    return {
        "rose": jobs.unread(user_id) > before,
        "is_greenlet": is_module_patched("threading") and is_module_patched("socket"),
        "process": os.getpid(),
    }


celery.task(name="publish")(publish)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """WSGI application: ``/?user=7&title=…`` calls :func:`publish`."""
    query = parse_qs(environ["QUERY_STRING"])
    close_old_connections()  # as Django does around a request
    answer = publish(int(query["user"][0]), query["title"][0]) if query else {}
    close_old_connections()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]

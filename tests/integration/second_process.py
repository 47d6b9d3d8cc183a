"""A second process of the site: it runs jobs of :mod:`tests.integration.jobs`."""

import json
import traceback
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection

import django
from django.db import close_old_connections

from tests.forks import run_as_started


def serve(env: dict[str, str], parent: Connection) -> None:
    """Run the jobs that the parent sends, until it closes the connection.

    Args:
        env: the environment variables of the process, instead of those it has.
        parent: carries jobs and answers, as JSON.
    """
    run_as_started(env, partial(_serve, parent))


def _serve(parent: Connection) -> None:
    django.setup()
    jobs = import_module("tests.integration.jobs")  # models cannot load before
    while True:
        try:
            name, arguments, options = json.loads(parent.recv_bytes())
        except EOFError:
            return
        close_old_connections()  # as every request does
        try:
            answer = {"result": getattr(jobs, name)(*arguments, **options)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        parent.send_bytes(json.dumps(answer).encode())

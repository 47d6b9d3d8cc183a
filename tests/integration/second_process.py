"""A second process of the site: it runs a job of :mod:`tests.integration.jobs` per input line."""

import json
import sys
import traceback

import django

django.setup()

from django.db import close_old_connections  # noqa: E402

from tests.integration import jobs  # noqa: E402 - models cannot load before

for line in sys.stdin:
    name, arguments, options = json.loads(line)
    close_old_connections()  # as every request does
    try:
        answer = {"result": getattr(jobs, name)(*arguments, **options)}
    except Exception:
        answer = {"error": traceback.format_exc()}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()

"""Script for the site's environment: fills the database, or publishes from a separate process."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pushsite.settings")

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.models import Group  # noqa: E402
from django.db import connection  # noqa: E402

from benchmarks.herd import now  # noqa: E402
from benchmarks.site import SENDERS  # noqa: E402
from notifications import broadcast, notify  # noqa: E402

User = get_user_model()

#: Threads that call ``notify()``, as many as a small web server has for requests.
THREADS = 4


def users(count: str) -> None:
    names = (f"user{number}" for number in range(int(count)))
    User.objects.bulk_create([User(username=name, password="!") for name in names], batch_size=1000)
    for number in range(SENDERS):
        User.objects.create_superuser(f"sender{number}", "", None)


def broadcasts(count: str) -> None:
    for number in range(int(count)):
        broadcast(f"Missed {number}", body="x" * 70)


def groups(size: str) -> None:
    for number in range(2):
        group = Group.objects.create(name=f"group{number}")
        first = number * int(size) + 1
        members = User.objects.filter(pk__gte=first, pk__lt=first + int(size))
        # No socket is open yet, so nobody has to be told.
        member = User.groups.through
        rows = [member(user_id=pk, group=group) for pk in members.values_list("pk", flat=True)]
        member.objects.bulk_create(rows, batch_size=1000)


def bulk(count: str) -> None:
    # In this order, so that the connected user is the first recipient.
    everybody = User.objects.filter(pk__lte=int(count)).order_by("pk")
    times: list[float] = []
    connection.ensure_connection()
    database: Any = connection  # as each transaction commits, not only one of the caller
    commit = database._commit

    def committed() -> None:
        commit()
        times.append(now())

    database._commit = committed
    memory, began = _peak(), now()
    notify(everybody, "Your invoice is ready", progress=lambda count: None)
    print(now() - began, times[0], _peak() - memory)


def _peak() -> int:
    """Return the most memory that this process has ever used, in bytes."""
    # Not getrusage(2): that remembers the memory of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def steady(users: str, rate: str, seconds: str) -> None:
    """Call ``notify()`` at a steady rate, each time in a transaction of its own.

    The calls run in :data:`THREADS` threads, so that a slow one does not delay the others.
    """
    readers = list(User.objects.order_by("pk")[: int(users)])
    count = int(int(rate) * float(seconds))

    def send(number: int, due: float) -> None:
        notify(readers[number % len(readers)], "Your order has shipped", body=f"{due} {now()}")

    def connect() -> None:
        connection.ensure_connection()

    with ThreadPoolExecutor(THREADS, initializer=connect) as pool:
        list(pool.map(lambda number: notify(readers[number], "Warm", body="0 0"), range(THREADS)))
        began = now() + 0.5
        sending = []
        for number in range(count):
            due = began + number / int(rate)
            time.sleep(max(0.0, due - now()))
            sending.append(pool.submit(send, number, due))
        for future in sending:
            future.result()
    print(count / (now() - began))


match sys.argv[1:]:
    case ["users", count]:
        users(count)
    case ["broadcast", count]:
        broadcasts(count)
    case ["groups", size]:
        groups(size)
    case ["bulk", count]:
        bulk(count)
    case ["steady", readers, rate, seconds]:
        steady(readers, rate, seconds)

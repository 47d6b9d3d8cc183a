"""``manage.py notify``: a private notification from a shell or cron job."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from ...models import Notification
from ...publishing import notify
from ._arguments import add_arguments, describe, named_errors, read_arguments

#: From this many recipients on it takes long enough to show how far it has come.
MANY = 1000
BAR = 40


class Command(BaseCommand):
    help = (
        "Sends a private notification to users, or to all active ones with --all. "
        'Example: notify reader "Your order has shipped" --url /orders/7/'
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("users", nargs="?", help="user name, or several separated by commas")
        parser.add_argument("title")
        parser.add_argument("--all", action="store_true", help="to all active users, not to some")
        add_arguments(parser, "message")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["users"]) == options["all"]:
            raise CommandError("users: Name the recipients, or all of them by --all.")
        recipients = _active() if options["all"] else _named(options["users"])
        arguments = read_arguments(options)
        with named_errors():
            ids = notify(
                recipients,
                options["title"],
                **arguments,
                progress=self._bar(len(recipients)),
            )
        self.stdout.write(_report(ids, recipients))

    def _bar(self, total: int) -> Callable[[int], None] | None:
        if total < MANY or not self.stderr.isatty():
            return None

        def show(done: int) -> None:
            full = BAR * done // total
            self.stderr.write(
                f"\r[{'#' * full}{' ' * (BAR - full)}] {done} of {total}",
                ending="\n" if done == total else "",
                style_func=str,
            )

        return show


def _active() -> list[Any]:
    users = get_user_model()._default_manager.all().order_by("pk").iterator()
    return [user for user in users if user.is_active]


def _named(names: str) -> list[Any]:
    """Find all of them before anything is sent to some of them."""
    users = get_user_model()
    found: list[Any] = []
    unknown: list[str] = []
    for name in dict.fromkeys(part.strip() for part in names.split(",")):
        try:
            found.append(users._default_manager.get_by_natural_key(name))
        except users.DoesNotExist:
            unknown.append(f"“{name}”")
    if unknown:
        raise CommandError(f"users: There is no user {', '.join(unknown)}. Nothing was sent.")
    return found


def _report(ids: list[int], recipients: list[Any]) -> str:
    if not ids:
        return "Nobody to send it to."
    first = Notification.objects.get(pk=ids[0])
    if len(ids) == 1:
        return describe(first, f"notification {first.pk} to {recipients[0].get_username()}")
    return describe(first, f"{len(ids)} notifications")

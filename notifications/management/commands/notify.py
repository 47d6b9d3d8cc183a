"""``manage.py notify``: send a private notification from a shell or cron job."""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...models import Notification
from ...publishing.notify import notify
from ...streams import names as stream_names
from ._arguments import add_arguments, describe, named_errors, read_arguments

#: From this many recipients on, sending takes long enough for a progress bar.
PROGRESS_THRESHOLD = 1000
BAR_WIDTH = 40


class Command(BaseCommand):
    help = (
        "Sends a private notification to users, to all active ones with --all, or to the active "
        "members of a group with --group. "
        'Example: notify reader "Your order has shipped" --url /orders/7/'
    )
    requires_migrations_checks = True

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        # Otherwise options between the users and the title are an error: argparse leaves the
        # optional ``users`` empty when a single positional argument comes before an option.
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("users", nargs="?", help="user name, or several separated by commas")
        parser.add_argument("title")
        parser.add_argument("--all", action="store_true", help="send to all active users")
        parser.add_argument(
            "--group",
            metavar="NAME",
            help="send to the active members of a group, by its name or id",
        )
        parser.add_argument(
            "--no-progress", action="store_true", help="show no progress, even on a terminal"
        )
        add_arguments(parser, "message")

    def handle(self, *args: Any, **options: Any) -> None:
        recipients = _recipients(options)
        arguments = read_arguments(options)
        with named_errors():
            ids = notify(
                recipients,
                options["title"],
                **arguments,
                progress=None if options["no_progress"] else self._bar(len(recipients)),
            )
        self.stdout.write(_report(ids, recipients))

    def _bar(self, total: int) -> Callable[[int], None] | None:
        if total < PROGRESS_THRESHOLD or not self.stderr.isatty():
            return None

        def show(done: int) -> None:
            full = BAR_WIDTH * done // total
            self.stderr.write(
                f"\r[{'#' * full}{' ' * (BAR_WIDTH - full)}] {done} of {total}",
                ending="\n" if done == total else "",
                style_func=str,
            )

        return show


def _recipients(options: dict[str, Any]) -> list[Any]:
    ways = [bool(options["users"]), options["all"], options["group"] is not None]
    if sum(ways) != 1:
        raise CommandError("users: Name the recipients, or use --all or --group.")
    users = get_user_model()._default_manager.order_by("pk")
    if options["users"]:
        return _named(options["users"])
    if options["group"] is not None:
        users = users.filter(groups=_group(options["group"]))
    return [user for user in users.iterator() if user.is_active]


def _group(name: str) -> Group:
    """Return the group that ``name`` means. A group with this id wins over one of this name."""
    by_id = Group.objects.filter(pk=int(name)).first() if stream_names.GROUP.match(name) else None
    group = by_id or Group.objects.filter(name=name).first()
    if group is None:
        raise CommandError(f"--group: There is no group “{name}”.")
    return group


def _named(names: str) -> list[Any]:
    """Find all users by their names, before anything is sent to any of them."""
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


def _report(ids: Sequence[int], recipients: list[Any]) -> str:
    if not ids:
        return "There are no recipients."
    first = Notification.objects.get(pk=ids[0])
    if len(ids) == 1:
        return describe(first, f"notification {first.pk} to {recipients[0].get_username()}")
    return describe(first, f"{len(ids)} notifications")

"""``manage.py broadcast``: send a notification to an audience from a shell or cron job."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError

from ...publishing.notify import broadcast
from ...publishing.recipients import EVERYONE, audience
from ._arguments import add_arguments, describe, named_errors, read_arguments


class Command(BaseCommand):
    help = (
        "Sends one notification to everyone, the staff, a group or a topic. "
        'Example: broadcast "Maintenance at 22:00" --level warning --expires 4h'
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("title")
        parser.add_argument(
            "--to",
            default=EVERYONE,
            metavar="AUDIENCE",
            help="everyone, staff, group:<name or id> or topic:<slug>; default everyone",
        )
        add_arguments(parser, "broadcast")

    def handle(self, *args: Any, **options: Any) -> None:
        to = _audience(options["to"])
        arguments = read_arguments(options)
        with named_errors():
            notification = broadcast(options["title"], to=to, **arguments)
        self.stdout.write(describe(notification, f"broadcast {notification.pk} to {options['to']}"))


def _audience(to: str) -> Any:
    """Return the audience that ``to`` names. A group with this id wins over one of this name."""
    kind, _, name = to.partition(":")
    try:
        return audience(to)
    except ValueError as error:
        group = Group.objects.filter(name=name).first() if kind == "group" else None
        if group is not None:
            return group
        if kind == "group" and name:
            raise CommandError(f"--to: There is no group “{name}”.") from error
        raise CommandError(
            f"--to: “{to}” is not everyone, staff, group:<name or id> or topic:<slug>."
        ) from error

"""``manage.py prune_notifications``: delete old rows; a cron job runs it daily."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...conf import app_settings
from ...database.clock import read_clock
from ...models import database_alias
from ...streams.pruning import Pruned, prune


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of days")
    return days


class Command(BaseCommand):
    help = (
        "Deletes notifications that were published, or withdrawn while they waited, longer ago "
        "than KEEP_DAYS; unused streams; and rows of dead workers. Waiting notifications are "
        "kept."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days",
            type=_days,
            help="keep notifications for this many days, instead of NOTIFICATIONS['KEEP_DAYS']",
        )
        parser.add_argument("--dry-run", action="store_true", help="report only, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        days = app_settings.KEEP_DAYS if options["days"] is None else options["days"]
        try:
            before = read_clock(database_alias()) - timedelta(days=days)
        except OverflowError as error:
            raise CommandError("--days: This is before the year 1.") from error
        pruned = prune(before, dry_run=options["dry_run"])
        self.stdout.write(_report(pruned, "Would delete" if options["dry_run"] else "Deleted"))


def _report(pruned: Pruned, done: str) -> str:
    undelivered = f" ({pruned.undelivered} were never delivered)" if pruned.undelivered else ""
    return (
        f"{done} {pruned.published} published notifications{undelivered}, "
        f"{pruned.withdrawn} withdrawn before they were sent, {pruned.streams} empty streams, "
        f"{pruned.workers} dead workers."
    )

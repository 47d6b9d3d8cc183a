"""``manage.py renew_epochs``: to run after a restore or a failover."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ...streams import incarnation
from ...streams.epochs import Renewed, count_all, renew_all


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ArgumentTypeError(f"{text!r} is not a time such as 2026-11-29T11:30 or …+01:00")
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


class Command(BaseCommand):
    help = (
        "Gives streams a new epoch after a backup was restored or a replica took over that may "
        "lack transactions. Clients are closed with 3010, reconnect, and learn that their "
        "positions are invalid. Tops below their notifications are repaired, and positions of "
        "users are moved back. The command can be interrupted and run again."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--all", action="store_true", help="renew all streams (the default)")
        which.add_argument(
            "--since",
            type=_moment,
            metavar="TIME",
            help=(
                "renew only streams with publications since TIME (the time of the restore, or "
                "earlier). In the other streams, clients miss later publications at offsets that "
                "they had already received before the loss."
            ),
        )
        which.add_argument(
            "--nothing-lost",
            action="store_true",
            help="renew nothing: the database was moved or failed over without losing data",
        )
        parser.add_argument("--dry-run", action="store_true", help="report only, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run = options["dry_run"]
        if options["nothing_lost"]:
            if not dry_run:
                incarnation.accept()
            self.stdout.write(
                "Would accept this database." if dry_run else "This database is accepted."
            )
            return
        work = count_all if dry_run else renew_all
        total = Renewed()
        for renewed in work(options["since"]):
            total = total.plus(renewed)
        self.stdout.write(_report(total, dry_run=dry_run))
        if total.locked:
            raise CommandError(
                f"{total.locked} streams are locked by others and were left out: run it again."
            )
        if not dry_run:
            incarnation.accept()


def _report(total: Renewed, *, dry_run: bool) -> str:
    renewed, repaired, moved = (
        ("Would renew", "would repair", "would move")
        if dry_run
        else ("Renewed", "repaired", "moved")
    )
    return (
        f"{renewed} the epochs of {total.streams} streams, {repaired} {total.tops} tops, "
        f"{moved} back the positions in {total.subscriptions} subscriptions."
    )

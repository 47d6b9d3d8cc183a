"""``manage.py adopt_django_notifications``: takes over a site from django-notifications."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.exceptions import NodeNotFoundError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ...adoption import aside, files, mark
from ...adoption.importing import Choice, Import, OtherChoice
from ...adoption.reports import Report
from ...adoption.traces import (
    OLD_COLUMNS,
    OLD_TABLE,
    TABLE,
    Traces,
    columns_of,
    dependents,
    find_traces,
    referring_tables,
)
from ...conf import app_settings
from ...models import database_alias

#: The setting by which a host has put a model in the place of theirs.
SWAPPED = "NOTIFICATIONS_NOTIFICATION_MODEL"

#: What to do about a migration that depends on theirs.
INDEPENDENCE = (
    "Remove the dependency from the file of that migration: what it was needed for is moved aside. "
    "Nothing was changed."
)

#: Parts of the import after which a log that is no terminal gets a line.
TENTHS = 10

#: What else there is to say of an import; by the number of it in a report.
REMARKS = {
    "deleted": "{} were deleted by their users and are left out",
    "not_chosen": "{} are left out by the options",
    "orphaned": "{} belong to users who are gone and are left out",
    "long": "{} have a sentence that is longer than a title; it is in full in the text",
    "cut": "{} have a description that was cut to 10 000 characters",
    "levels": "{} have a level that is unknown here; it is in the data, and they are “info”",
    "data": "{} have data that are larger than NOTIFICATIONS['MAX_DATA_SIZE'], or no JSON; "
    "without these",
    "unnamed": "{} actors, targets or action objects are gone or without a name; they are named by "
    "their model and primary key",
}


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text) or datetime.fromisoformat(text)
        moment = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"{text!r} is no time such as 2026-01-31 or 2026-01-31T18:00"
        ) from None


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


class Command(BaseCommand):
    help = (
        "Takes over a site from django-notifications (django-notifications-hq): moves its table "
        "and migrations aside, migrates this app, and imports the notifications as history that "
        "is sent to nobody. May be interrupted, and run again."
    )
    # They say that this command has to run.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what would be done; write nothing"
        )
        parser.add_argument(
            "--chunk-size",
            type=_size,
            default=1000,
            metavar="N",
            help="notifications in one transaction, default 1000; those of one user stay together",
        )
        parser.add_argument(
            "--unread-only", action="store_true", help="import nothing that was read"
        )
        parser.add_argument(
            "--since", type=_moment, metavar="TIME", help="import nothing older, such as 2026-01-31"
        )
        parser.add_argument(
            "--no-import", action="store_true", help="import nothing; only make room, and migrate"
        )
        parser.add_argument(
            "--table",
            metavar="NAME",
            help=f"of the model that {SWAPPED} names; it is read, and stays where it is",
        )
        parser.add_argument(
            "--drop-old",
            action="store_true",
            help="delete what was moved aside, once everything is imported",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _require_own_files()
        self._alias = database_alias()
        self._connection = connections[self._alias]
        self._dry_run = options["dry_run"]
        traces = find_traces(self._connection)
        if not traces.are_in_the_way and not mark.exists(self._connection):
            self.stdout.write("There is nothing of django-notifications in this database.")
            return
        source = self._source(traces, options)
        if traces.are_in_the_way:
            self._move_aside(traces, options["verbosity"])
        elif not self._dry_run:
            self._migrate(0)  # in case that was interrupted
        if source and not options["no_import"]:
            choice = Choice(options["unread_only"], options["since"])
            self._import(Import(self._alias, source, choice, options["chunk_size"]))
        if options["drop_old"]:
            self._drop(is_wanted=options["no_import"])

    def _source(self, traces: Traces, options: dict[str, Any]) -> str:
        """The table with the notifications; "" if none is wanted.

        Raises:
            CommandError: nobody knows which.
        """
        if options["no_import"]:
            return ""
        if options["table"] not in (None, TABLE, OLD_TABLE):
            self._require_columns(options["table"])
            return str(options["table"])
        if traces.has_table:
            return TABLE if self._dry_run else OLD_TABLE
        if traces.is_aside:
            return OLD_TABLE
        raise CommandError(_swapped())

    def _require_columns(self, table: str) -> None:
        with self._connection.cursor() as cursor:
            if table not in self._connection.introspection.table_names(cursor):
                raise CommandError(f"--table: There is no table {table!r}. Nothing was changed.")
        if missing := OLD_COLUMNS - columns_of(self._connection, table):
            raise CommandError(
                f"--table: {table!r} has no notifications of django-notifications. It lacks the "
                f"columns {', '.join(sorted(missing))}. Nothing was changed."
            )

    def _move_aside(self, traces: Traces, verbosity: int) -> None:
        self._require_independence()
        if traces.has_table and (others := referring_tables(self._connection)):
            raise CommandError(
                f"Tables of yours refer to the notifications: {', '.join(sorted(others))}. They "
                "would go on referring to those that were moved aside. Remove these fields first, "
                "by a migration that runs with django-notifications. Nothing was changed."
            )
        if traces.has_table and traces.is_aside:
            raise CommandError(
                f"There is a table {OLD_TABLE} already, and one of django-notifications too. "
                "Rename or drop one of them. Nothing was changed."
            )
        moved = f"the table {TABLE} and " if traces.has_table else ""
        done = f"{moved}{len(traces.migrations)} migrations of django-notifications"
        if self._dry_run:
            self.stdout.write(f"Would move {done} aside, and migrate.")
            return
        try:
            aside.move_aside(self._alias, traces)
        except DatabaseError as error:
            raise CommandError(
                f"The table could not be moved aside: {error} Stop what still uses it, and run "
                "this again. Nothing was changed."
            ) from error
        self.stdout.write(f"Moved {done} aside.")
        self._migrate(verbosity)

    def _require_independence(self) -> None:
        try:
            others = dependents(self._connection)
        except NodeNotFoundError as error:
            raise CommandError(f"{error} {INDEPENDENCE}") from error
        if others:
            raise CommandError(
                "Migrations of yours depend on those of django-notifications: "
                f"{', '.join(others)}. {INDEPENDENCE}"
            )

    def _migrate(self, verbosity: int) -> None:
        call_command(
            "migrate",
            "notifications",
            database=self._alias,
            interactive=False,
            skip_checks=True,
            verbosity=verbosity,
            stdout=self.stdout,
            stderr=self.stderr,
        )

    def _import(self, work: Import) -> None:
        show = self._progress(work.count())
        if self._dry_run:
            self._say(work.rehearse(show))
            return
        try:
            self._say(work.run(show))
        except OtherChoice:
            raise CommandError(
                "The import was begun with another --table, --unread-only or --since: use the same "
                "again. What is imported is decided once, because history cannot be put between "
                "what is there."
            ) from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Run it again: it goes on where it stopped.") from None
        except DatabaseError as error:
            raise CommandError(
                f"The import stopped: {error} Run it again: it goes on where it stopped."
            ) from error

    def _progress(self, total: int) -> Callable[[Report], None]:
        is_terminal = self.stderr.isatty()
        told = 0

        def show(report: Report) -> None:
            nonlocal told
            line = f"{report.passed} of {total} notifications"
            if is_terminal:
                end = "\n" if report.passed >= total else ""
                self.stderr.write(f"\r{line}", ending=end, style_func=str)
            elif report.passed * TENTHS // max(total, 1) > told:
                told = report.passed * TENTHS // total
                self.stdout.write(line)
                self.stdout.flush()

        return show

    def _say(self, report: Report) -> None:
        done = "Would import" if self._dry_run else "Imported"
        self.stdout.write(
            f"{done} {report.unread} unread and {report.read} read notifications of "
            f"{report.recipients} users."
        )
        for name, words in REMARKS.items():
            if count := getattr(report, name):
                self.stdout.write(f"  {words.format(count)}.")
        if report.old:
            self.stdout.write(
                self.style.WARNING(
                    f"  {report.old} are older than NOTIFICATIONS['KEEP_DAYS'] "
                    f"({app_settings.KEEP_DAYS}): the next prune_notifications deletes them."
                )
            )

    def _drop(self, *, is_wanted: bool) -> None:
        if self._dry_run:
            self.stdout.write("Would delete what was moved aside.")
            return
        if not (now := mark.read(self._connection)).is_done and (now.last or not is_wanted):
            raise CommandError("--drop-old: The import is not complete. Nothing was deleted.")
        aside.drop(self._alias)
        self.stdout.write("Deleted what was moved aside.")


def _require_own_files() -> None:
    problems = files.foreign_files()
    if problems or files.is_installed():
        named = f", and files of it are among those of this app: {', '.join(problems)}"
        raise CommandError(
            f"django-notifications-hq is installed, or was{named if problems else ''}. "
            f"{files.WAY_OUT} Nothing was changed."
        )


def _swapped() -> str:
    model = getattr(settings, SWAPPED, "")
    known = ""
    if isinstance(model, str) and model.count(".") == 1:
        table = model.lower().replace(".", "_")
        known = f"{SWAPPED} names {model!r}, so it is probably --table {table}. "
    return (
        "There are migrations of django-notifications, but not its table: this site has a model of "
        f"its own in place of it. {known}Name the table of that model with --table, or say "
        "--no-import. Nothing was changed."
    )

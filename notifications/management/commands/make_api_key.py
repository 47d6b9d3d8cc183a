"""``manage.py make_api_key``: make a key of the server API in a script of a deployment."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from ...api.keys import make_key
from ...api.server.methods import GRANTABLE
from ...models import APIKey


class Command(BaseCommand):
    help = (
        "Makes a key of the server API, and prints it. It is stored nowhere and cannot be printed "
        'again. Example: make_api_key shop --method publish --channel "user:*"'
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="says who uses the key")
        parser.add_argument(
            "--method",
            action="append",
            required=True,
            choices=GRANTABLE,
            help="a method that it may call; may be repeated",
        )
        parser.add_argument(
            "--channel",
            action="append",
            required=True,
            help="a channel that it may use, such as topic:news or user:*; may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"].strip()
        if not 0 < len(name) <= (APIKey._meta.get_field("name").max_length or 0):
            raise CommandError("The name must have 1 to 100 characters.")
        methods = list(dict.fromkeys(options["method"]))
        try:
            _key, secret = make_key(name, methods, options["channel"])
        except ValidationError as error:
            raise CommandError(f"--channel: {' '.join(error.messages)}") from error
        self.stdout.write(secret)

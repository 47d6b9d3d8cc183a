"""``manage.py make_api_key``: make a key of the server API in a script of a deployment."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from ...api.keys import make_key
from ...api.server.methods import GRANTABLE
from ...models import APIKey
from ...texts import is_storable


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
        longest = APIKey._meta.get_field("name").max_length or 0
        if not 0 < len(name) <= longest or not is_storable(name):
            raise CommandError(f"The name must be a text of 1 to {longest} characters.")
        methods = list(dict.fromkeys(options["method"]))
        try:
            _key, secret = make_key(name, methods, options["channel"])
        except ValidationError as error:
            raise CommandError(f"--channel: {' '.join(error.messages)}") from error
        self.stdout.write(secret)

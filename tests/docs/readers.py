"""A reader of the documentation, who types what a page says."""

import shlex
from pathlib import Path

from tests.wheels import plain_environment, run

#: The password that the reader gives to ``createsuperuser``.
PASSWORD = "a-password-of-the-reader"


class Reader:
    """Does in a directory what the page says."""

    def __init__(self, directory: Path, python: Path) -> None:
        self.directory = directory
        self.python = python
        self.env = plain_environment(DJANGO_SUPERUSER_PASSWORD=PASSWORD)

    def type(self, line: str, *more: str) -> str:
        """Run a line of shell with further arguments, and return what it prints."""
        program, *arguments = shlex.split(line)
        if program == "cd":
            self.directory /= arguments[0]
            return ""
        assert program == "python"
        return run(self.python, *arguments, *more, cwd=self.directory, env=self.env)

    def save(self, path: str, source: str) -> None:
        """Save a file, or add to the end of one if its first line says so."""
        if "(at the end)" in source.split("\n")[0]:
            self.add(path, source)
            return
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)

    def add(self, path: str, source: str) -> None:
        with (self.directory / path).open("a") as file:
            file.write(f"\n{source}")

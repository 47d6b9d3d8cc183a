"""A new user follows the README: from ``django-admin startproject`` to a toast in the browser."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.async_api import Browser, expect

from tests.servers import Server
from tests.sites import ROOT
from tests.wheels import plain_environment, run

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.hosts]

README = (ROOT / "README.md").read_text()

#: Seconds that the steps take at most, installation included: "ten minutes".
STOPWATCH = 600

NAME = "admin"

THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Step(NamedTuple):
    """A numbered step of the README: what it says, and the block of code below it."""

    text: str
    code: str


def steps() -> list[Step]:
    """The steps of "Add it to your Django project"."""
    section = README.split("## Add it to your Django project")[1].split("\n## ")[0]
    found = re.findall(r"^\d\. (.*?)\n+   ```[\w+]*\n(.*?)   ```\n", section, re.M | re.S)
    return [Step(text, re.sub(r"^   ", "", code, flags=re.M)) for text, code in found]


def find_python(version: str) -> str:
    """The path of this Python, "" if the machine neither has it nor can install it."""
    if version == THIS_PYTHON:
        return sys.executable
    found = subprocess.run(
        [ROOT / "scripts" / "python", version], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


class Newcomer:
    """Follows the steps in an empty folder, and does nothing that they do not say.

    Args:
        folder: an empty folder.
        python: with which the virtual environment is made.
        django: version of Django, such as ``5.2``.
        wheel: stands for the address of the repository.
    """

    def __init__(self, folder: Path, python: str, django: str, wheel: Path) -> None:
        self.folder = folder
        self.python = folder / "venv" / "bin" / "python"
        self._wheel = wheel
        run(python, "-m", "venv", folder / "venv")
        self._pip(f"Django=={django}.*")
        (folder / "site").mkdir()
        run(self.python, "-m", "django", "startproject", "mysite", folder / "site")

    def follow(self, step: Step) -> None:
        name = re.search(r"`([\w/]+\.(?:py|html))`", step.text)
        if name is None:
            for line in step.code.splitlines():
                self._type(line)
            return
        path = self.folder / "site" / name[1]
        path.parent.mkdir(exist_ok=True)
        is_end = step.text.startswith("At the end of")
        before = path.read_text() if is_end else ""
        path.write_text(before + step.code)

    def server(self) -> Server:
        env = plain_environment(DJANGO_SUPERUSER_PASSWORD=NAME)
        return Server(
            self.folder,
            env,
            command="runserver",
            python=self.python,
            cwd=self.folder / "site",
            login_path="/admin/login/",
        )

    def _type(self, line: str) -> None:
        """Type one line into the shell; ``runserver`` is left to :meth:`server`."""
        match line.split():
            case ["pip", "install", *_]:
                extras = re.search(r"pushsite(\[[^]]*\])?", line)
                assert extras is not None
                self._pip(f"{self._wheel}{extras[1] or ''}")
            case ["python", "manage.py", "runserver"]:
                pass
            case ["python", "manage.py", "createsuperuser"]:
                options = ("--noinput", f"--username={NAME}", "--email=")
                self.server().manage("createsuperuser", *options)
            case ["python", "manage.py", *arguments]:
                self.server().manage(*arguments)
            case _:
                raise AssertionError(f"nobody can type this: {line}")

    def _pip(self, requirement: str) -> None:
        pip = (self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
        run(*pip, requirement, timeout=STOPWATCH)


@pytest.mark.parametrize(("version", "django"), [(THIS_PYTHON, "5.2"), ("3.13", "6.1")])
async def test_the_steps_lead_from_an_empty_folder_to_a_toast(
    version: str, django: str, wheel: Path, tmp_path: Path, browser: Browser
) -> None:
    python = find_python(version)
    if not python:
        reason = f"Python {version} is missing, so Django {django} was not tried"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    began = time.monotonic()
    newcomer = Newcomer(tmp_path, python, django, wheel)
    for step in steps():
        newcomer.follow(step)
    server = newcomer.server()
    assert server.manage("version").stdout.startswith(django)
    server.manage("check", "--fail-level", "WARNING")
    server.start()
    try:
        page = await browser.new_page()
        await page.goto(f"{server.url}/admin/")
        await page.fill("[name=username]", NAME)
        await page.fill("[name=password]", NAME)
        await page.click("[type=submit]")
        await page.goto(server.url)
        command = re.search(r"`python manage.py notify admin \"([^\"]+)\"`", README)
        assert command is not None
        server.manage("notify", NAME, command[1])
        await expect(page.get_by_role("region").get_by_text(command[1])).to_be_visible()
        await page.close()
    finally:
        server.kill()
    assert time.monotonic() - began < STOPWATCH
    assert "Traceback" not in server.log


async def test_the_readme_has_all_steps() -> None:
    files = [re.findall(r"`([\w/]+\.(?:py|html))`", step.text)[:1] for step in steps()]
    assert files == [
        [],
        ["mysite/settings.py"],
        ["mysite/asgi.py"],
        ["mysite/urls.py"],
        ["templates/home.html"],
        [],
    ]

"""The site's management commands."""

import subprocess
import sys

from django.core.management import get_commands, load_command_class

from tests.sites import ROOT

LOADED = "import sys, django; django.setup(); print('twisted' in sys.modules)"


def test_runserver_is_that_of_daphne() -> None:
    app = get_commands()["runserver"]
    assert isinstance(app, str)
    assert type(load_command_class(app, "runserver")).__module__.startswith("daphne.")


def test_no_other_process_of_the_site_loads_twisted() -> None:
    command = [sys.executable, "-c", LOADED]
    environment = {"DJANGO_SETTINGS_MODULE": "pushsite.settings", "DEBUG": "1", "PATH": ""}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"

"""The projects in examples/, installed and started as their readers do."""

import shutil
from pathlib import Path

from tests.servers import Server
from tests.sites import ROOT
from tests.wheels import plain_environment

EXAMPLES = ROOT / "examples"

#: Name and password of the user in each example.
GUEST = "guest"


def prepare(name: str, directory: Path, python: Path, **variables: str) -> Server:
    """A server of a migrated copy of an example, with one user. It is not started.

    Args:
        name: folder of the example.
        directory: where the copy is made.
        python: of an environment with the app.
        variables: environment variables that the example reads.
    """
    project = directory / name
    shutil.copytree(EXAMPLES / name, project)
    env = plain_environment(DJANGO_SUPERUSER_PASSWORD=GUEST, **variables)
    server = Server(
        directory,
        env,
        command="runserver",
        python=python,
        cwd=project,
        login_path="/admin/login/?next=/admin/",
    )
    server.manage("check", "--fail-level", "WARNING")
    server.manage("makemigrations", "--check", "--dry-run")
    server.manage("migrate", "--verbosity", "0")
    server.manage("createsuperuser", "--noinput", f"--username={GUEST}", "--email=")
    return server

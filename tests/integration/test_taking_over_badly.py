"""Taking over a site from django-notifications when something is in the way."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.client import Client
from tests.integration import legacies
from tests.integration.legacies import PostgresSites, SqliteSites
from tests.legacy import PROJECT, Legacy, install, old_packages
from tests.servers import Server
from tests.sites import manage

pytestmark = [pytest.mark.integration, pytest.mark.hosts]

sites = legacies.sites
sqlite_sites = legacies.sqlite_sites
serve = legacies.serve

#: Seconds until a process that imports must have got somewhere.
PATIENCE = 60

COUNTS = """
import json
from collections import Counter
from django.db import connection
from notifications.adoption import mark
tops = Counter(Stream.objects.filter(name__startswith="user:").values_list("top", flat=True))
print(json.dumps({
    "rows": Notification.objects.count(),
    "offsets": Counter(Notification.objects.values_list("offset", flat=True)),
    "tops": tops,
    "reads": Counter(Subscription.objects.filter(stream__name__startswith="user:")
                     .values_list("read", flat=True)),
    "receipts": Receipt.objects.count(),
    "marked": mark.read(connection).report.imported,
}))
"""


def counts(site: Legacy) -> Any:
    return json.loads(site.ask(COUNTS))


def begin(site: Legacy, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "adopt_django_notifications", *args]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env=site.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_import_goes_on_where_it_stopped(
    sites: SqliteSites | PostgresSites, tmp_path: Path
) -> None:
    """Killed again and again, at whatever moment, and everything is imported once."""
    site = sites.copy("crowd.py", tmp_path)
    half = ""
    for how in (signal.SIGINT, signal.SIGKILL):
        process = begin(site, "--chunk-size", "1")
        try:
            assert process.stdout is not None
            # Each tenth of the import is told.
            for line in process.stdout:
                if re.match(r"\d+ of 3000 notifications", line):
                    half = line
                    break
        finally:
            process.send_signal(how)
            _, said = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in said
        assert process.returncode == (1 if how == signal.SIGINT else -how)
    assert half
    found = counts(site)
    assert 0 < found["marked"] < 3000
    assert found["rows"] == found["marked"]
    assert "Imported 2000 unread and 1000 read notifications of 1000 users" in site.adopt().stdout
    assert counts(site) == {
        "rows": 3000,
        "offsets": {"1": 1000, "2": 1000, "3": 1000},
        "tops": {"3": 1000},
        "reads": {"1": 1000},
        "receipts": 0,
        "marked": 3000,
    }


def test_a_live_site_gets_its_history(
    sites: SqliteSites | PostgresSites, tmp_path: Path, serve: Callable[[Legacy], Server]
) -> None:
    """Imported while users are connected: they come back, and are shown nothing old as new."""
    site = sites.copy("fill.py", tmp_path)
    site.adopt("--no-import")
    server = serve(site)
    cookie = server.login("ada")
    client = Client(server.socket_url, cookie=cookie, origin=server.url)
    assert client.connect()["data"]["unread"] == 0
    site.manage("notify", "ada", "new")
    client.wait_for_titles(["new"])

    site.adopt()
    client.wait(lambda: client.closed, "the end of the connection")
    assert client.closed is not None
    assert client.closed.code == 3010
    answer = client.connect()
    assert answer["data"]["unread"] == 7
    assert client.unrecovered == ["user:1"]
    site.manage("notify", "ada", "newer")
    client.wait_for_titles(["new", "newer"])
    assert [received.offset for received in client.publications] == [1, 11]
    client.close()
    titles = "from notifications import inbox; print([e.notification.title for e in "
    shown = site.ask(titles + "inbox.list_entries(User.objects.get(pk=1)).entries])")
    assert shown.startswith("['newer', 'new', 'bob greeted everybody'")
    assert "Traceback" not in server.log


def test_a_site_with_a_model_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'db.sqlite3'}"
    site = Legacy(tmp_path, url, SWAPPED="1")
    site.before("migrate", "--run-syncdb", "--verbosity", "0")
    site.before("shell", script="fill.py")

    assert "notifications.E011" in site.manage("migrate", check=False).stderr
    refused = site.adopt(check=False)
    assert refused.returncode == 1
    assert "NOTIFICATIONS_NOTIFICATION_MODEL names 'mine.Note'" in refused.stderr
    assert "--table mine_note" in refused.stderr
    assert "Nothing was changed" in refused.stderr
    assert "no table 'mine_notes'" in site.adopt("--table", "mine_notes", check=False).stderr

    said = site.adopt("--table", "mine_note", "--drop-old").stdout
    assert "Imported 7 unread and 3 read notifications of 2 users" in said
    assert "Deleted what was moved aside" in said
    tables = "from django.db import connection as c; print(c.introspection.table_names())"
    left = site.ask(f"{tables}; print(Notification.objects.get(key='mine_note:1'))")
    assert "'mine_note'" in left
    assert "django_notifications" not in left
    site.manage("migrate")


def test_a_table_of_the_host_that_refers_to_the_old_one_stops_it(
    sites: SqliteSites | PostgresSites, tmp_path: Path
) -> None:
    site = sites.copy("fill.py", tmp_path)
    refers = "CREATE TABLE shop_mail (note int REFERENCES notifications_notification (id))"
    site.ask(f"from django.db import connection as c; c.cursor().execute({refers!r})")
    refused = site.adopt(check=False)
    assert refused.returncode == 1
    assert "refer to the notifications: shop_mail" in refused.stderr
    assert "Nothing was changed" in refused.stderr


def test_a_migration_of_the_host_that_depends_on_theirs_stops_it(
    sqlite_sites: SqliteSites, tmp_path: Path
) -> None:
    site = sqlite_sites.copy("fill.py", tmp_path)
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    migrations = project / "shop" / "migrations"
    migrations.mkdir()
    (migrations / "__init__.py").touch()
    for parent, words in (
        ("0001_initial", "depend on those of django-notifications: shop.0001_initial"),
        ("0009_alter_notification_options_and_more", "shop.0001_initial dependencies reference"),
    ):
        (migrations / "0001_initial.py").write_text(
            "from django.db import migrations\n"
            "class Migration(migrations.Migration):\n"
            f"    dependencies = [('notifications', '{parent}')]\n"
        )
        record = "MigrationRecorder(connection).record_applied('shop', '0001_initial')"
        imports = "from django.db import connection\nfrom django.db.migrations.recorder import *"
        site.ask(f"{imports}\n{record}")
        refused = manage("adopt_django_notifications", env=site.env, check=False, cwd=project)
        assert refused.returncode == 1
        assert words in refused.stderr
        assert "Remove the dependency" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert "notifications.E011" in site.manage("check", check=False).stderr


def test_a_dry_run_writes_nothing(sqlite_sites: SqliteSites, tmp_path: Path) -> None:
    site = sqlite_sites.copy("fill.py", tmp_path)
    before = (tmp_path / "db.sqlite3").read_bytes()
    said = site.adopt("--dry-run").stdout
    assert "Would move the table notifications_notification and 9 migrations" in said
    assert "Would import 7 unread and 3 read notifications of 2 users" in said
    assert (tmp_path / "db.sqlite3").read_bytes() == before


def test_a_check_makes_no_database(tmp_path: Path) -> None:
    Legacy(tmp_path, f"sqlite:///{tmp_path / 'db.sqlite3'}").manage("check")
    assert list(tmp_path.iterdir()) == []


def test_a_check_needs_no_database(tmp_path: Path) -> None:
    checked = Legacy(tmp_path, "postgres://nobody@127.0.0.1:1/none").manage("check")
    assert checked.stderr == ""


@pytest.fixture(scope="module")
def mixed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of packages into which pip has installed both, this app later."""
    directory = tmp_path_factory.mktemp("mixed")
    packages = directory / "packages"
    for name in ("notifications", "django_notifications_hq-1.8.3.dist-info"):
        shutil.copytree(old_packages() / name, packages / name)
    ours = directory / "ours"
    install(ours, str(wheel))
    # pip's --target leaves what is there alone; an environment does not.
    shutil.copytree(ours, packages, dirs_exist_ok=True)
    return packages


def test_both_installed_are_refused(mixed: Path, tmp_path: Path) -> None:
    site = Legacy(tmp_path, f"sqlite:///{tmp_path / 'db.sqlite3'}", packages=mixed)
    for command in ("check", "migrate", "adopt_django_notifications"):
        refused = site.manage(command, check=False)
        assert refused.returncode == 1
        assert "pip uninstall django-notifications-hq" in refused.stderr
        assert "base/__init__.py" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert "notifications.E012" in site.manage("check", check=False).stderr


def test_files_that_uninstalling_has_left_are_refused(mixed: Path, tmp_path: Path) -> None:
    """As a host makes a migration beside theirs, which pip does not know."""
    packages = tmp_path / "packages"
    shutil.copytree(mixed.parent / "ours", packages)
    site = Legacy(tmp_path, f"sqlite:///{tmp_path / 'db.sqlite3'}", packages=packages)
    site.manage("check")
    made = packages / "notifications" / "migrations" / "0010_alter_notification_id.py"
    made.write_text("raise RuntimeError('This is of another app.')")
    for command in ("check", "migrate"):
        refused = site.manage(command, check=False)
        assert refused.returncode == 1
        assert "migrations/0010_alter_notification_id.py" in refused.stderr
        assert "Traceback" not in refused.stderr

"""A site on django-notifications, with notifications in every state, changes over to this app."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.client import Client
from tests.integration import legacies
from tests.integration.legacies import PostgresSites, SqliteSites, get, get_json
from tests.legacy import Legacy
from tests.servers import Server

pytestmark = [pytest.mark.integration, pytest.mark.hosts]

sites = legacies.sites
sqlite_sites = legacies.sqlite_sites
serve = legacies.serve

#: What ada sees afterwards, newest first, and whether she has read it.
INBOX = [
    ["bob greeted everybody", False],
    ["bob whispered", True],
    [f"bob said {'x' * 190}…", False],
    ["bob wrote order 7", False],
    ["user 4 bought order 2", False],
    ["bob added order 7 on Friends", False],
    ["order 7 was packed", True],
    ["order 7 was shipped", False],
    ["bob commented on order 7", True],
]
UNREAD = sum(not is_read for _, is_read in INBOX)

#: What there is afterwards, as one question.
FOUND = """
import json
from django.db import connection
from notifications import inbox
ada = User.objects.get(username="ada")
entries = inbox.list_entries(ada).entries
own = Notification.objects.filter(stream__name=f"user:{ada.pk}").order_by("offset")
print(json.dumps({
    "inbox": [(entry.notification.title, entry.read) for entry in entries],
    "unread": inbox.unread_count(ada),
    "rows": [[n.title, n.body, n.level, n.url, n.actor and str(n.actor), n.data, n.key]
             for n in own.select_related("actor")],
    "offsets": [n.offset for n in own],
    "tables": connection.introspection.table_names(),
}))
"""


def found(site: Legacy) -> Any:
    return json.loads(site.ask(FOUND))


class Taken(NamedTuple):
    """A site that has changed over, what the command has said, and what there is now."""

    site: Legacy
    said: str
    found: Any


@pytest.fixture(scope="module")
def taken(sites: SqliteSites | PostgresSites, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    site = sites.copy("fill.py", tmp_path_factory.mktemp("taken"))
    said = site.adopt().stdout
    return Taken(site, said, found(site))


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_the_old_site_is_refused(
    sites: SqliteSites | PostgresSites, tmp_path: Path, command: str
) -> None:
    site = sites.copy("fill.py", tmp_path)
    refused = site.manage(command, check=False)
    assert refused.returncode == 1
    assert "notifications.E011" in refused.stderr
    assert "manage.py adopt_django_notifications" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_inbox_is_in_order_and_as_it_was_read(taken: Taken) -> None:
    assert taken.found["inbox"] == INBOX
    assert taken.found["unread"] == UNREAD
    assert taken.found["offsets"] == list(range(1, len(INBOX) + 1))


def test_the_command_says_what_it_did(taken: Taken) -> None:
    assert "Moved the table notifications_notification and 9 migrations" in taken.said
    assert "Imported 7 unread and 3 read notifications of 2 users" in taken.said
    assert "1 were deleted by their users" in taken.said
    assert "1 have a level that is unknown" in taken.said
    assert "10 are older than NOTIFICATIONS['KEEP_DAYS']" in taken.said


def test_what_is_imported_says_what_it_said(taken: Taken) -> None:
    rows = {row[0]: row[1:] for row in taken.found["rows"]}
    order = {"type": "shop.order", "id": "1", "name": "order 7"}
    friends = {"type": "auth.group", "id": "1", "name": "Friends"}
    added = {"verb": "added", "action_object": order, "target": friends}
    assert rows["bob added order 7 on Friends"] == [
        "",
        "info",
        "/orders/1/",
        "bob",
        added,
        "django-notifications:2",
    ]
    shipped = {"verb": "was shipped", "actor": order}
    assert rows["order 7 was shipped"][1:5] == ["success", "", None, shipped]
    assert rows["order 7 was packed"][0] == "With care."
    wrote = {"verb": "wrote", "target": order, "colour": "red", "size": 3}
    assert rows["bob wrote order 7"][4] == wrote
    assert rows["bob whispered"][4] == {"verb": "whispered", "public": False, "emailed": True}
    bought = rows["user 4 bought order 2"]
    assert (bought[1], bought[4]["level"]) == ("info", "loud")
    assert bought[4]["actor"] == {"type": "auth.user", "id": "4", "name": "user 4"}
    [long] = [body for title, (body, *_) in rows.items() if title.endswith("…")]
    assert long == f"bob said {'x' * 240}\n\nWhy?"


def test_pages_and_clients_show_it_as_history(
    taken: Taken, serve: Callable[[Legacy], Server]
) -> None:
    server = serve(taken.site)  # which refuses to start if a check has an error
    cookie = server.login("ada")
    page = get(server, "/inbox/notifications/", cookie)
    times = re.findall(r'<time[^>]*datetime="(2024-01-\d\d)', page)
    assert times == [f"2024-01-{day:02}" for day in (10, 8, 7, 6, 5, 4, 3, 3, 2)]
    assert page.index("bob greeted everybody") < page.index("bob commented on order 7")

    live = get_json(server, "/inbox/notifications/api/unread_list/?max=2", cookie)
    assert live["unread_count"] == UNREAD
    assert [row["verb"] for row in live["unread_list"]] == [
        "greeted everybody",
        f"said {'x' * 240}",
    ]

    client = Client(server.socket_url, cookie=cookie, origin=server.url)
    assert client.connect()["data"]["unread"] == UNREAD
    taken.site.ask("from notifications import notify; notify(User.objects.get(pk=1), 'live')")
    client.wait_for_titles(["live"])
    assert client.publications[0].offset == len(INBOX) + 1
    client.close()
    assert found(taken.site)["inbox"] == [["live", False], *INBOX]
    assert "Traceback" not in server.log


def test_what_was_moved_aside_stays_until_it_is_dropped(
    sites: SqliteSites | PostgresSites, tmp_path: Path
) -> None:
    site = sites.copy("fill.py", tmp_path)
    site.adopt()
    assert "django_notifications_notification" in found(site)["tables"]
    # Nobody knows it any more, so it must hold nobody back.
    site.ask("User.objects.get(username='bob').delete()")
    assert "Imported 7 unread" in site.adopt("--drop-old").stdout
    after = found(site)
    assert not [table for table in after["tables"] if table.startswith("django_notifications")]
    assert after["inbox"] == INBOX
    assert "nothing of django-notifications" in site.adopt().stdout

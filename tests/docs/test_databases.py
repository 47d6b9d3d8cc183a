"""A project with two databases, made as its how-to guide says."""

from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of, file_of
from tests.docs.readers import Reader
from tests.sites import ROOT

pytestmark = pytest.mark.hosts

GUIDE = list(blocks_of(ROOT / "docs" / "howto" / "databases.md"))

APP = """
INSTALLED_APPS += ["channels", "notifications"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""

#: Prints the tables of the app in each database, and what a new user has not read.
SEND = """
from django.contrib.auth import get_user_model
from django.db import connections
from notifications import inbox, notify

user = get_user_model().objects.create_user("ada")
notify(user, "Hello")
for alias in ("default", "people"):
    names = connections[alias].introspection.table_names()
    print(alias, sum(name.startswith("notifications_") for name in names))
print("unread", inbox.unread_count(user))
"""


@pytest.mark.integration
def test_the_app_lives_in_the_database_that_the_guide_gives_it(
    tmp_path: Path, host_python: Path
) -> None:
    reader = Reader(tmp_path, host_python)
    reader.type("python -m django startproject mysite")
    reader.type("cd mysite")
    reader.add("mysite/settings.py", APP)
    for block in GUIDE:
        if path := file_of(block.source):
            reader.save(path, block.source)
        elif block.language == "shell":
            for line in ["python manage.py migrate", *block.source.splitlines()]:
                reader.type(line)
    printed = reader.type("python manage.py shell -v 0 -c", SEND)
    default, people, unread = printed.split("\n")[:3]
    assert default == "default 0"
    assert people != "people 0"
    assert unread == "unread 1"

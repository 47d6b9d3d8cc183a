"""Versions of the database: equal ones mean that nothing has been committed in between."""

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from notifications.database.lanes import CHECK, COMMANDS
from notifications.database.versions import Version, read_version

pytestmark = pytest.mark.django_db(transaction=True)

USING = connection.alias


def version() -> Version | None:
    return CHECK.submit(read_version, USING).result()


def write(name: str) -> Group:
    return COMMANDS.submit(Group.objects.create, name=name).result()


def test_versions_are_equal_while_nothing_is_committed() -> None:
    def look_twice() -> bool:
        before = version()
        assert before is not None
        assert list(CHECK.submit(Group.objects.all).result()) == []
        return version() == before

    # PostgreSQL analyzes tables by itself at times, which is a commit.
    assert any(look_twice() for _ in range(20))


def test_every_commit_of_another_connection_changes_the_version() -> None:
    versions = [version()]
    for number in range(3):
        write(f"group {number}")
        versions.append(version())
    assert len(set(versions)) == 4


def test_versions_of_two_connections_are_never_equal() -> None:
    assert COMMANDS.submit(read_version, USING).result() != version()


def test_every_write_of_the_same_connection_changes_the_version() -> None:
    versions = [version()]
    for number in range(3):
        CHECK.submit(Group.objects.create, name=f"group {number}").result()
        versions.append(version())
    CHECK.submit(Group.objects.all().delete).result()
    versions.append(version())
    assert len(set(versions)) == 5


def test_there_is_no_version_in_a_transaction() -> None:
    with transaction.atomic():
        assert read_version(USING) is None

"""A restored backup is recognised as another database, whatever its streams contain."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from prometheus_client import REGISTRY

from notifications.database.lanes import in_database
from notifications.hub.incarnation import IncarnationWatch
from notifications.models import Incarnation
from notifications.streams import incarnation
from notifications.streams.incarnation import differ
from tests.peers import running_hub, until
from tests.rooms import in_threads, queries

pytestmark = pytest.mark.django_db(transaction=True)


def move() -> None:
    """Store the fingerprint of another database, as in a restored backup."""
    Incarnation.objects.update(fingerprint="file=1 cluster=1")


def gauge() -> float | None:
    return REGISTRY.get_sample_value("notifications_history_suspect")


def test_the_first_look_stores_the_fingerprint() -> None:
    assert incarnation.check() is None
    assert not Incarnation.objects.exists()
    assert in_threads(4, lambda number: incarnation.check_and_store()) == [None] * 4
    assert Incarnation.objects.get().fingerprint == incarnation.fingerprint() != ""
    assert incarnation.check_and_store() is None


def test_p8_another_database_is_suspected_until_it_is_accepted() -> None:
    incarnation.check_and_store()
    move()
    found = incarnation.check_and_store()
    assert found == incarnation.check() == (True, False)
    assert "restored backup" in str(found)
    incarnation.accept()
    assert incarnation.check_and_store() is None


def test_p8_a_history_that_went_back_is_suspected_until_accepted() -> None:
    incarnation.suspect()
    first = Incarnation.objects.get().suspected_at
    incarnation.suspect()
    assert Incarnation.objects.get().suspected_at == first
    assert incarnation.check_and_store() == (False, True)
    incarnation.accept()
    assert incarnation.check_and_store() is None


def test_a_look_takes_two_queries() -> None:
    incarnation.check_and_store()
    assert len(queries(incarnation.check_and_store)) <= 2


def test_a_fingerprint_can_be_read_in_a_transaction() -> None:
    with transaction.atomic():
        assert incarnation.fingerprint()
        assert incarnation.check_and_store() is None


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("a=1 b=2", "a=1 b=2", False),
        ("a=1 b=2", "a=1 b=3", True),
        ("a=1 b=2", "b=2", False),
        ("a=1", "b=2", False),
        ("", "a=1", False),
        ("", "", False),
    ],
)
def test_only_values_of_both_fingerprints_are_compared(one: str, other: str, differs: bool) -> None:
    assert differ(one, other) is differs


def test_a_copy_of_the_file_is_another_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "sqlite":
        return
    original = incarnation.fingerprint()
    copy = shutil.copy(connection.settings_dict["NAME"], tmp_path / "copy.sqlite3")
    monkeypatch.setitem(connection.settings_dict, "NAME", str(copy))
    assert differ(original, incarnation.fingerprint())
    monkeypatch.setitem(connection.settings_dict, "NAME", ":memory:")
    assert incarnation.fingerprint() == ""


# In a worker


async def test_p8_a_worker_compares_fingerprints_when_it_starts(settings: Any) -> None:
    await in_database(incarnation.check_and_store)
    await in_database(move)
    async with running_hub(settings):
        await until(lambda: gauge() == 1)
    await in_database(incarnation.accept)
    async with running_hub(settings):
        await until(lambda: gauge() == 0)


async def test_p8_a_worker_logs_a_suspicion_and_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    watch = IncarnationWatch()
    assert watch.interval() == 0
    await watch.check()
    assert watch.interval() > 0
    await in_database(move)
    for _ in range(3):
        await watch.check()
    assert gauge() == 1
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "manage.py renew_epochs" in told.getMessage()
    await in_database(incarnation.accept)
    for _ in range(3):
        await watch.check()
    assert gauge() == 0
    assert len([each for each in caplog.records if "belong to this" in each.getMessage()]) == 1

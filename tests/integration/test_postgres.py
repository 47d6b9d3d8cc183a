"""Run the tests that depend on the database again, on a real PostgreSQL."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.postgres import running_postgres
from tests.sites import INHERITED, ROOT

pytestmark = pytest.mark.integration

#: Test files by run. The runs are few, because each starts a process and migrates a database of its
#: own. They take equally long, because ``make test`` spreads them over its processes. The modules
#: postgres_*.py test what only occurs on PostgreSQL; nothing else collects them.
RUNS = [
    (
        "tests/publishing/test_notify.py",
        "tests/test_texts.py",
        "tests/publishing/test_sequencing.py",
        "tests/integration/postgres_only.py",
        "tests/integration/postgres_held.py",
        "tests/hub/test_beginnings.py",
        "tests/streams/test_names.py",
        "tests/streams/test_subscriptions.py",
        "tests/streams/test_history.py",
    ),
    (
        "tests/publishing/test_placing.py",
        "tests/integration/postgres_transactions.py",
        "tests/integration/postgres_keys.py",
        "tests/integration/postgres_partitions.py",
        "tests/integration/postgres_bulk.py",
        "tests/publishing/test_immediate.py",
        "tests/publishing/test_bulk.py",
        "tests/integration/postgres_immediate.py",
        "tests/publishing/test_mailings.py",
        "tests/integration/postgres_mailings.py",
        "tests/test_receivers.py",
        "tests/test_signals.py",
        "tests/database/test_lanes.py",
        "tests/database/test_versions.py",
        "tests/test_loading.py",
        "tests/adoption/test_importing.py",
        "tests/inbox/test_of_user.py",
    ),
    (
        "tests/streams/test_epochs.py",
        "tests/streams/test_incarnation.py",
        "tests/streams/test_instants.py",
        "tests/streams/test_signatures.py",
        "tests/inbox/test_inbox.py",
        "tests/test_models.py",
        "tests/inbox/test_following.py",
    ),
    (
        "tests/streams/test_pruning.py",
        "tests/inbox/test_counts.py",
        "tests/connect/test_admission.py",
        "tests/connect/test_authentication.py",
        "tests/connect/test_users.py",
        "tests/hub/test_isolated_writes.py",
        "tests/hub/delivery/test_renewals.py",
        "tests/hub/delivery/test_together.py",
        "tests/hub/test_position_check.py",
        "tests/hub/test_settled.py",
        "tests/pushsite/test_logins.py",
        "tests/streams/test_members.py",
        "tests/hub/test_members.py",
        "tests/hub/test_join_leave.py",
    ),
    (
        "tests/api/test_rest.py",
        "tests/api/test_rest_bounds.py",
        "tests/publishing/test_channels.py",
        "tests/streams/test_channel_rights.py",
        "tests/handlers/test_channels.py",
        "tests/handlers/test_presence.py",
        "tests/handlers/test_subscription_tokens.py",
        "tests/api/test_keys.py",
        "tests/api/test_server_history.py",
        "tests/api/test_server_namespaces.py",
        "tests/api/test_server_overview.py",
        "tests/api/test_server_publishing.py",
        "tests/api/test_server_users.py",
        "tests/api/test_server_views.py",
        "tests/admin/test_keys.py",
        "tests/admin/test_notifications.py",
        "tests/transports/durable_streams/test_catch_up.py",
        "tests/transports/durable_streams/test_waiting.py",
    ),
]

#: Seconds for a run, on a machine that is busy otherwise.
TIMEOUT = 1800


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.mark.parametrize("files", RUNS, ids=lambda files: files[0])
def test_the_same_tests_pass_on_postgresql(postgres: str, files: tuple[str, ...]) -> None:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={**environment, "DATABASE_URL": postgres},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None, result.stdout
    assert int(passed[1]) > 10
    assert "skipped" not in result.stdout
    assert "deselected" not in result.stdout

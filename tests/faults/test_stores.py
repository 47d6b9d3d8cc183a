"""Redis and PostgreSQL that go away and come back."""

import time

import pytest

from tests.faults.conftest import ROUNDS, Survived
from tests.faults.stage import Stage, running
from tests.sites import Site

pytestmark = pytest.mark.integration


def test_p4_redis_is_killed_and_starts_empty(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        publisher = run.begin(ROUNDS)
        with run.fault():
            stage.redis.kill()
            time.sleep(2.0)  # the length of the outage
            stage.redis.start()
        run.finish(publisher)
        survived(run)


def test_p4_redis_takes_everything_and_answers_nothing(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        publisher = run.begin(ROUNDS)
        with run.fault():
            stage.redis.freeze()
            try:
                time.sleep(3.0)  # longer than the layer's timeout
            finally:
                stage.redis.thaw()
        run.finish(publisher)
        survived(run)


def test_p4_a_layer_that_loses_duplicates_delays_and_reorders(
    site: Site, tmp_path_factory: pytest.TempPathFactory, survived: Survived
) -> None:
    stage = Stage(
        site,
        tmp_path_factory.mktemp("stage"),
        DJANGO_SETTINGS_MODULE="tests.faults.settings",
        FAULTY_LAYER="1",
    )
    try:
        with running(stage) as run:
            publisher = run.begin(ROUNDS)
            run.finish(publisher)
            survived(run)
    finally:
        stage.close()


def test_p1_postgresql_is_restarted(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        publisher = run.begin(ROUNDS)
        with run.fault():
            stage.postgres.stop()
            time.sleep(2.0)  # the length of the outage
            stage.postgres.start()
        run.finish(publisher)
        survived(run)

"""Workers that end, or have a wrong clock, while messages flow."""

import time

import pytest

from tests.faults.conftest import ROUNDS, Survived
from tests.faults.stage import Stage, running
from tests.servers import Server

pytestmark = pytest.mark.integration


def test_p1_a_killed_worker_loses_nothing(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        publisher = run.begin(2 * ROUNDS, pause=0.1)
        for worker in stage.workers:
            with run.fault():
                stage.restart(worker, worker.kill)
        run.finish(publisher)
        survived(run)


def test_p1_a_worker_that_is_told_to_stop_loses_nothing(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        publisher = run.begin(2 * ROUNDS, pause=0.1)
        for worker in stage.workers:
            with run.fault():
                stage.restart(worker, worker.stop)
        run.finish(publisher)
        survived(run)


def test_p3_both_workers_killed_at_once_and_again(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        publisher = run.begin(ROUNDS)
        for _ in range(2):
            time.sleep(0.5)  # messages flow between the two kills
            with run.fault():
                for worker in stage.workers:
                    worker.kill()
                for worker in stage.workers:
                    worker.start()
        run.finish(publisher)
        survived(run)


def test_p1_a_worker_whose_clock_is_an_hour_ahead(stage: Stage, survived: Survived) -> None:
    """It sequences and delivers next to workers with correct clocks."""
    env = {
        **stage.place.env,
        "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
        "CLOCK_AHEAD": "3600",
    }
    wrong = stage.place.add_server(env)
    try:
        _beside(wrong, stage, survived)
    finally:
        wrong.stop()


def _beside(wrong: Server, stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        with run.fault():
            for client in run.clients[::2]:
                client.url = wrong.socket_url
                client.drop()
        publisher = run.begin(ROUNDS)
        run.finish(publisher)
        survived(run)

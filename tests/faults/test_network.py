"""Networks and peers that fail."""

import time

import pytest

from tests.faults.conftest import ROUNDS, Survived
from tests.faults.stage import Stage, running
from tests.integration import jobs

pytestmark = pytest.mark.integration


def test_p1_all_connections_are_cut_over_and_over(stage: Stage, survived: Survived) -> None:
    """For two seconds each time."""
    with running(stage) as run:
        publisher = run.begin(2 * ROUNDS, pause=0.1)
        for _ in range(3):
            with run.fault():
                stage.network.cut()
                time.sleep(2.0)
                stage.network.heal()
            time.sleep(1.0)
        run.finish(publisher)
        survived(run)


def test_p1_half_open_connections_are_found_by_both_ends(stage: Stage, survived: Survived) -> None:
    """The network falls silent and nobody says that the connections have ended."""
    with running(stage) as run:
        publisher = run.begin(ROUNDS)
        before = [device.connects for _, device in run.devices]
        with run.fault():
            stage.network.silence()
            time.sleep(1.0)
            stage.network.heal()
        run.wait(
            lambda: all(
                device.connects > count
                for count, (_, device) in zip(before, run.devices, strict=True)
            ),
            "all clients to come back",
        )
        run.finish(publisher)
        survived(run)
        run.wait(
            lambda: stage.place.other.run(jobs.connections) == len(run.devices),
            "the server to find them",
        )


def test_p5_who_does_not_read_holds_up_nobody(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        for client in run.clients[::3]:
            with run.fault():
                client.pause()
        publisher = run.begin(ROUNDS)
        run.finish(publisher)
        for client in run.clients[::3]:
            client.resume()
        survived(run)

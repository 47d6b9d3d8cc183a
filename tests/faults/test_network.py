"""Networks and peers that fail."""

import os
import threading
import time

import pytest

from tests.faults.conftest import ROUNDS, Survived
from tests.faults.crowd import Crowd, Visitor
from tests.faults.ledger import missing
from tests.faults.stage import Stage, running
from tests.integration import jobs

pytestmark = pytest.mark.integration


def test_p1_all_connections_are_cut_over_and_over(stage: Stage, survived: Survived) -> None:
    """Each cut lasts two seconds."""
    with running(stage) as run:
        publisher = run.begin(2 * ROUNDS, pause=0.1)
        for _ in range(3):
            with run.fault():
                stage.network.cut()
                time.sleep(2.0)  # the length of the cut
                stage.network.heal()
            time.sleep(1.0)  # some come back before the next cut, and some do not
        run.finish(publisher)
        survived(run)


#: As in the published comparison of AnyCable (84.6 % with Socket.IO, 87.0 % with uWebSockets).
CROWD = 100

#: Minimum number of drops of each client.
DROPS = 50 if os.environ.get("SOAK") else 5


def test_p1_each_of_a_hundred_clients_is_dropped_for_two_seconds_over_and_over(
    stage: Stage, survived: Survived
) -> None:
    with running(stage, people=10, devices=1) as run:
        people = [run.people[number % 10] for number in range(CROWD)]
        crowd = Crowd((Visitor(stage.url, one.token, one.channel) for one in people), seed=7)
        thread = threading.Thread(target=crowd.run)
        thread.start()
        run.seen_by_others = lambda: [visitor.seen for visitor in crowd.visitors]
        try:
            # A new device does not receive what another device of its user has acknowledged.
            run.wait(lambda: all(each.positions for each in crowd.visitors), "all to come once")
            while crowd.fewest_drops < DROPS:
                # A few rounds at a time, so that publishing lasts as long as the loop does.
                run.finish(run.begin(5, pause=0.2, mark=f"{time.monotonic():.3f}"))
            crowd.stop_dropping()
            run.faults = sum(visitor.drops for visitor in crowd.visitors)
            survived(run)
        except AssertionError:
            print(*(each for each in crowd.visitors if missing(run.committed, each.seen)), sep="\n")  # noqa: T201
            raise
        finally:
            crowd.end()
            thread.join()
    assert [visitor.violations for visitor in crowd.visitors if visitor.violations] == []
    assert [visitor.unrecovered for visitor in crowd.visitors if visitor.unrecovered] == []


def test_p1_half_open_connections_are_found_by_both_ends(stage: Stage, survived: Survived) -> None:
    """The network passes nothing any more, and neither end receives a close."""
    with running(stage) as run:
        publisher = run.begin(ROUNDS)
        before = [device.connects for _, device in run.devices]
        with run.fault():
            stage.network.silence()
            time.sleep(1.0)  # what is sent meanwhile is lost without a trace
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


def test_p5_a_client_that_does_not_read_delays_nobody(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        for client in run.clients[::3]:
            with run.fault():
                client.pause()
        publisher = run.begin(ROUNDS)
        run.finish(publisher)
        for client in run.clients[::3]:
            client.resume()
        survived(run)

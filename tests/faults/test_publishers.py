"""Publishers that roll back, die, and publish concurrently."""

import pytest

from tests.faults.conftest import Survived
from tests.faults.stage import Stage, running
from tests.integration import jobs
from tests.integration.processes import SecondProcess

pytestmark = pytest.mark.integration

PROCESSES = 8


def test_p2_a_rolled_back_notification_is_never_sent(stage: Stage, survived: Survived) -> None:
    with running(stage) as run:
        other = stage.publishers[1]
        publisher = run.begin(10)
        for number in range(20):
            with run.fault():
                other.run(jobs.notify_and_roll_back, run.people[0].id, f"never {number}")
        run.finish(publisher)
        survived(run)


def test_p1_a_publisher_that_dies_after_its_commit_loses_nothing(
    stage: Stage, survived: Survived
) -> None:
    with running(stage) as run:
        person = run.people[0]
        for number in range(2):
            title = f"left {number}"
            with run.fault(), pytest.raises(EOFError):
                stage.place.add_other().run(jobs.notify_and_die, person.id, title)
            run.committed.setdefault(person.channel, []).append(title)
        survived(run)


def test_p1_a_publisher_that_dies_in_a_large_call_loses_nothing(
    stage: Stage, survived: Survived
) -> None:
    with running(stage) as run:
        ids = [person.id for person in run.people]
        with run.fault(), pytest.raises(EOFError):
            stage.place.add_other().run(jobs.notify_many_and_die, ids, "to many")
        for person in run.people:
            run.committed.setdefault(person.channel, []).append("to many")
        survived(run)


def test_p3_the_same_key_from_eight_processes_makes_one_notification(
    stage: Stage, survived: Survived
) -> None:
    others = [SecondProcess(stage.place.env) for _ in range(PROCESSES)]
    try:
        with running(stage) as run:
            ids = [person.id for person in run.people]
            for other in others:
                other.begin(jobs.publish_with_retries, ids, run.people[0].name, 10, 0.0)
            results = [other.finish() for other in others]
            assert all(result == results[0] for result in results)
            run.committed = results[0]
            survived(run)
    finally:
        for other in others:
            other.stop()


def test_p3_several_processes_sequence_one_stream_at_once(stage: Stage, survived: Survived) -> None:
    """The tickers of both workers and a publisher give offsets to rows without an announcement."""
    with running(stage) as run:
        person = run.people[0]
        titles = [f"waiting {number}" for number in range(300)]
        for start in range(0, 300, 30):
            stage.publishers[0].begin(jobs.leave_waiting, person.id, titles[start : start + 30])
            stage.publishers[1].run(jobs.sequence_stream, person.id)
            stage.publishers[0].finish()
        run.committed[person.channel] = titles
        survived(run)

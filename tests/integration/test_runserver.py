"""The development server ends in good order with a socket open, although daphne says nothing."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.integration.test_drain import children
from tests.sites import Site

pytestmark = pytest.mark.integration


def acknowledged(place: Place) -> tuple[int, str]:
    """Somebody with an open socket who has just acknowledged something."""
    person = place.person()
    client = place.connected(person)
    place.other.run(jobs.notify_user, person.id, ["read"])
    client.wait_for_titles(["read"])
    client.rpc("ack", channel=person.channel, offset=1)
    return person.id, person.channel


def test_a_signal_ends_it_with_0_and_writes_what_is_pending(site: Site, directory: Path) -> None:
    """At once after a handshake daphne cancels no consumer, and its loop is left behind."""
    # Nothing is written before the end.
    with open_place(site, directory, "runserver", NOTIFICATIONS_FLUSH_INTERVAL="60") as place:
        for sig in (signal.SIGTERM, signal.SIGINT):
            user, channel = acknowledged(place)
            assert place.server.stop(sig) == 0
            assert place.other.run(jobs.delivered, user, channel) == 1
            assert place.other.run(jobs.workers) == 0
            place.server.start()


def test_its_reloader_ends_it_in_good_order(site: Site, directory: Path) -> None:
    """There the loop is in a thread, and still runs when the main thread ends the process."""
    variables = {"NOTIFICATIONS_FLUSH_INTERVAL": "60", "DEBUG": "1"}
    with open_place(site, directory, "reloading runserver", **variables) as place:
        user, channel = acknowledged(place)
        (serving,) = children(place.server.pid)
        os.kill(serving, signal.SIGTERM)
        assert place.clients[0].wait_closed() == 3001
        assert place.server.wait() == 0  # it passes on how that process has ended
        assert place.other.run(jobs.delivered, user, channel) == 1

"""A deployment as in production: PostgreSQL, Redis, two workers behind nginx, and clients."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.client import Client, ReconnectingClient
from tests.faults.balancer import Balancer
from tests.faults.ledger import Seen, Verdict, judge, missing
from tests.integration import jobs
from tests.integration.partition import Relay
from tests.integration.places import Person, Place
from tests.integration.processes import Redis, SecondProcess
from tests.postgres import Postgres
from tests.servers import Server
from tests.sites import Site
from tests.waiting import wait_until

#: Seconds; short, so that a test sees several pings.
PING_INTERVAL = 2.0
PONG_TIMEOUT = 1.0

#: Seconds that a ping may be late before a client drops its connection.
GRACE = 4.0

#: Seconds within which everything has to happen.
PATIENCE = 180.0

#: Seconds to wait for publications that must not come.
QUIET = 1.0


class Device(ReconnectingClient):
    """A client that reconnects, also when pings stop, as SDKs do."""

    def __init__(self, client: Client) -> None:
        self._heard = (0, 0.0)
        super().__init__(client)

    def stay(self) -> None:
        self._heard = (self.client.pings, time.monotonic())
        watching = threading.Thread(target=self._watch, daemon=True)
        watching.start()
        super().stay()
        watching.join()

    def _watch(self) -> None:
        while self.client.closed is None and not self.stopped.wait(0.2):
            pings, since = self._heard
            if self.client.pings != pings or self.client.is_paused:
                self._heard = (self.client.pings, time.monotonic())
            elif time.monotonic() - since > PING_INTERVAL + GRACE:
                self.client.drop()
                return


class Stage:
    """The running processes and how to reach them. Users and clients are created for each run."""

    def __init__(self, site: Site, directory: Path, **variables: str) -> None:
        self.postgres = Postgres(keeps_commits=True).start()
        self.redis = Redis().start()
        variables = {
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "NOTIFICATIONS_PING_INTERVAL": str(PING_INTERVAL),
            "NOTIFICATIONS_PONG_TIMEOUT": str(PONG_TIMEOUT),
            **variables,
        }
        self.place = Place(site, directory, "serve", variables)
        self.workers = [self.place.server, self.place.add_server()]
        ports = [worker.port for worker in self.workers]
        self.nginx = Balancer(directory / "nginx", ports).start()
        #: The network between the clients and nginx.
        self.network = Relay(self.nginx.port)
        self.url = f"ws://127.0.0.1:{self.network.port}/connection/websocket"
        self.publishers = [self.place.add_other(), self.place.add_other()]

    def close(self) -> None:
        self.place.close()
        self.network.close()
        self.nginx.stop()
        self.redis.close()
        self.postgres.close()

    def client(self, person: Person) -> Client:
        return Client(self.url, token=person.token)

    def restart(self, worker: Server, end: Callable[[], object]) -> None:
        """End a worker by calling ``end``, and start it again."""
        end()
        time.sleep(1.0)  # clients try to come back meanwhile
        worker.start()


class Run:
    """Users with devices on a stage, and what has been committed for them."""

    def __init__(self, stage: Stage, people: int, devices: int) -> None:
        self.stage = stage
        self.people = [stage.place.person() for _ in range(people)]
        self.devices = [
            (person, Device(stage.client(person))) for person in self.people for _ in range(devices)
        ]
        self.committed: dict[str, list[str]] = {}
        #: Number of faults that have been injected.
        self.faults = 0
        #: What clients besides the devices have received.
        self.seen_by_others: Callable[[], Sequence[Seen]] = list
        self._publishing: list[SecondProcess] = []
        self.wait(lambda: all(device.connects for _, device in self.devices), "all to connect")

    @property
    def clients(self) -> list[Client]:
        return [device.client for _, device in self.devices]

    def begin(
        self, count: int, pause: float = 0.05, publisher: int = 0, mark: str = ""
    ) -> SecondProcess:
        """Start a publisher, and wait for the first delivery.

        Args:
            count: number of rounds; each publishes to every user, and one broadcast.
            pause: seconds between two rounds.
            publisher: index of the publisher.
            mark: prefix of its titles; required from the second publisher of a run on.
        """
        other = self.stage.publishers[publisher]
        ids = [person.id for person in self.people]
        other.begin(jobs.publish_with_retries, ids, mark or self.people[0].name, count, pause)
        # From here on, a fault hits the publisher while it is publishing.
        self._publishing.append(other)
        self.wait(lambda: any(client.titles for client in self.clients), "the first publication")
        return other

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Count the body of the ``with`` block as one fault in the table."""
        self.faults += 1
        yield

    def finish(self, other: SecondProcess) -> None:
        self._publishing.remove(other)
        for channel, titles in other.finish().items():
            self.committed.setdefault(channel, []).extend(titles)

    def verdict(self) -> Verdict:
        """Wait until everything has arrived, at most ``PATIENCE`` seconds, and judge."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(
            missing(self.committed, seen) for seen in self.seen()
        ):
            time.sleep(0.1)
        time.sleep(QUIET)  # for publications that must not come
        return judge(self.committed, self.seen())

    def describe_missing(self) -> str:
        """Describe what each device lacks, for the message of a failure."""
        return "\n".join(
            f"{device.client!r} {device.codes} lacks {sorted(lacks)}"
            for (_, device), seen in zip(self.devices, self.seen(), strict=False)
            if (lacks := missing(self.committed, seen))
        )

    def wait(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, f"timed out waiting for {what}", PATIENCE)

    def stop(self) -> None:
        self.stage.network.heal()
        for other in self._publishing:  # a test has failed, and later tests use the publisher
            other.finish()
        for client in self.clients:
            client.resume()
        for _, device in self.devices:
            device.stop()

    def seen(self) -> list[Seen]:
        """Return what each device has received, in their order, and then each other client."""
        devices = [
            Seen(person.channel, list(device.client.publications))
            for person, device in self.devices
        ]
        return [*devices, *self.seen_by_others()]


@contextmanager
def running(stage: Stage, people: int = 3, devices: int = 3) -> Iterator[Run]:
    """Connect users with devices, and disconnect them at the end of the block."""
    run = Run(stage, people, devices)
    try:
        yield run
    finally:
        run.stop()

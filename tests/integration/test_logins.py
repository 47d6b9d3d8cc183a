"""The brakes on logins behind nginx: its own, and that of two processes of the site."""

import urllib.request
from collections import Counter

import pytest

from tests.integration.fronts import StartFront

pytestmark = pytest.mark.integration

FORGED = "203.0.113.9"

#: Lets a test say where it comes from, as a proxy in front of nginx does.
FROM_ANYWHERE = {
    "server_tokens off;": "server_tokens off; set_real_ip_from 127.0.0.0/8; real_ip_header X-Test;"
}


def test_wrong_passwords_are_counted_by_the_clients_address_over_all_processes(
    front: StartFront,
) -> None:
    running = front(FROM_ANYWHERE, LOGIN_FAILURES="4")
    thief = {"X-Test": "203.0.113.5"}
    pages = ("/accounts/login/", "/admin/login/") * 2
    statuses = [
        running.try_to_log_in("admin", f"guess {n}", page, **thief, **{"X-Forwarded-For": FORGED})
        for n, page in enumerate(pages)
    ]
    assert [answer.status for answer in statuses] == [200, 200, 200, 429]
    assert running.try_to_log_in("admin", "admin", **thief).status == 429
    assert running.try_to_log_in("admin", "admin", **{"X-Test": "203.0.113.6"}).status == 302
    log = "".join(server.log for server in running.servers)
    assert "Locking out" in log
    assert "203.0.113.5" in log
    assert "guess" not in log
    assert "Traceback" not in log


def test_tries_to_log_in_are_bounded_by_address_whatever_the_name(front: StartFront) -> None:
    running = front({**FROM_ANYWHERE, "rate=30r/m": "rate=1r/m"})

    def tries(count: int, *addresses: str) -> Counter[int]:
        found: Counter[int] = Counter()
        for number in range(count):
            page = ("/accounts/login/", "/admin/login/")[number % 2]
            url, headers = (
                f"{running.nginx.url}{page}",
                {"X-Test": addresses[number % len(addresses)]},
            )
            found[running.open(urllib.request.Request(url, b"x=1", headers)).status] += 1
        return found

    # Without a CSRF cookie the site itself refuses; one and a burst of 20 get as far as that.
    assert tries(25, "192.0.2.1") == {403: 21, 429: 4}
    assert tries(1, "192.0.2.2") == {403: 1}
    network = ("2001:db8:1:2::a", "2001:db8:1:2:ffff::b", "2001:db8:1:2:0a0d::c")
    assert tries(25, *network) == {403: 21, 429: 4}
    assert tries(1, "2001:db8:1:3::a") == {403: 1}
    assert running.get("/accounts/login/", **{"X-Test": "192.0.2.1"}).status == 200

"""Limits on logins behind nginx: nginx's own, and that of two processes of the site."""

import urllib.request
from collections import Counter

import pytest

from tests.integration.fronts import StartFront

pytestmark = pytest.mark.integration

FORGED = "203.0.113.9"

#: Lets a test set the client address by a header, as if a proxy were in front of nginx.
FROM_ANYWHERE = {
    "server_tokens off;": "server_tokens off; set_real_ip_from 127.0.0.0/8; real_ip_header X-Test;"
}


def test_wrong_passwords_are_counted_per_client_address_across_processes(
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


def test_login_attempts_are_limited_per_address_for_any_username(front: StartFront) -> None:
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

    # nginx passes one request and a burst of 20; the site refuses them without a CSRF cookie.
    assert tries(25, "192.0.2.1") == {403: 21, 429: 4}
    assert tries(1, "192.0.2.2") == {403: 1}
    network = ("2001:db8:1:2::a", "2001:db8:1:2:ffff::b", "2001:db8:1:2:0a0d::c")
    assert tries(25, *network) == {403: 21, 429: 4}
    assert tries(1, "2001:db8:1:3::a") == {403: 1}
    assert running.get("/accounts/login/", **{"X-Test": "192.0.2.1"}).status == 200

"""The views for monitoring: health and metrics."""

from ipaddress import ip_network
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings
from pytest_django.fixtures import DjangoAssertNumQueries

from notifications.metrics import PUBLISHED
from tests.rooms import make_user


@pytest.mark.django_db
def test_health_runs_one_query_and_is_not_cached(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        answer = client.get("/health/")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_health_answers_503_without_the_database(client: Client) -> None:
    with patch.object(connection, "cursor", side_effect=OperationalError("password=hunter2")):
        answer = client.get("/health/")
    assert (answer.status_code, answer.content) == (503, b"database: OperationalError\n")


@pytest.mark.django_db
def test_health_is_answered_over_plain_http(client: Client, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/health/").status_code == 200
    assert client.get("/accounts/login/").status_code == 301


@pytest.mark.django_db
def test_strangers_and_users_may_not_read_the_metrics(client: Client) -> None:
    assert client.get("/metrics").status_code == 403
    client.force_login(make_user("reader"))
    assert client.get("/metrics").status_code == 403


@pytest.mark.django_db
def test_staff_may_read_the_metrics(client: Client) -> None:
    client.force_login(make_user("staff", is_staff=True))
    PUBLISHED.inc()
    answer = client.get("/metrics")
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert b"notifications_published_total " in answer.content
    assert b"notifications_connections " in answer.content


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "status"),
    [("10.1.2.3", 200), ("2001:db8::7", 200), ("192.0.2.1", 403), ("", 403), ("unix:", 403)],
)
def test_allowed_networks_may_read_the_metrics(
    client: Client, settings: Settings, address: str, status: int
) -> None:
    settings.METRICS_ALLOW = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == status

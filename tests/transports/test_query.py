"""Tokens in a URL do not reach the logs of servers."""

import logging

import pytest

from notifications.transports.query import QueryHider, connect_parameter, hide, hide_in_record

PATH = "/connection/uni_sse?a=1&cf_connect=%7B%22token%22%3A%22secret%22%7D&b=2"


def test_the_value_in_a_url_is_hidden() -> None:
    line = f'127.0.0.1 - "GET {PATH} HTTP/1.1" 200'
    hidden = '127.0.0.1 - "GET /connection/uni_sse?a=1&cf_connect=hidden&b=2 HTTP/1.1" 200'
    assert hide(line) == hidden


def test_a_key_of_the_server_api_is_hidden() -> None:
    assert hide("POST /api/publish?api_key=secret HTTP/1.1") == (
        "POST /api/publish?api_key=hidden HTTP/1.1"
    )


@pytest.mark.parametrize("name", ["cf%5Fconnect", "%63f_connect", "cf_connec%74", "cf%5fconnect"])
async def test_a_name_that_is_percent_encoded_hides_its_value_too(name: str) -> None:
    seen = []

    async def application(scope: object, receive: object, send: object) -> None:
        seen.append(connect_parameter(scope))

    scope = {"type": "http", "query_string": f"a=1&{name}=secret".encode()}
    await QueryHider(application)(scope, None, None)
    assert seen == ["secret"]
    assert scope["query_string"] == f"a=1&{name}=hidden".encode()
    record = logging.makeLogRecord({"msg": f"GET /?{name}=secret"})
    assert hide_in_record(record)
    assert record.getMessage() == f"GET /?{name}=hidden"


async def test_the_scope_of_the_server_loses_the_value_and_the_application_gets_it() -> None:
    seen = []

    async def application(scope: object, receive: object, send: object) -> None:
        seen.append(connect_parameter(scope))

    scope = {"type": "http", "query_string": PATH.partition("?")[2].encode()}
    await QueryHider(application)(scope, None, None)
    assert seen == ['{"token":"secret"}']
    assert scope["query_string"] == b"a=1&cf_connect=hidden&b=2"


def test_what_servers_log_by_themselves_is_hidden_too(caplog: pytest.LogCaptureFixture) -> None:
    QueryHider(None)
    logger = logging.getLogger("django.channels.server")
    with caplog.at_level(logging.INFO, "django.channels.server"):
        logger.info("HTTP %(method)s %(path)s", {"method": "GET", "path": PATH})
    assert "secret" not in caplog.text
    assert "cf_connect=hidden" in caplog.text
    assert len(logger.filters) == len(set(logger.filters))

"""The form of a connection follows from its subprotocols and from the query of its URL."""

import pytest

from notifications.protocol.json import JSON
from notifications.protocol.negotiation import agree
from notifications.protocol.protobuf import PROTOBUF

JSON_NAME, PROTOBUF_NAME = "centrifuge-json", "centrifuge-protobuf"


@pytest.mark.parametrize(
    ("query", "offered", "accepted"),
    [
        ("", [], None),
        ("", ["other"], None),
        ("", [JSON_NAME], JSON_NAME),
        ("", [PROTOBUF_NAME, JSON_NAME], JSON_NAME),
        ("format=json&a=b", [], None),
        ("format=", [], None),
        ("format=Protobuf", [], None),
        ("protocol=protobuf", [], None),
        ("format=json&format=protobuf", [], None),
        ("%FF&=&format", [], None),
    ],
)
def test_json_is_the_form_of_all_who_do_not_ask_for_protobuf(
    query: str, offered: list[str], accepted: str | None
) -> None:
    assert agree(query.encode(), offered) == (JSON, accepted)


@pytest.mark.parametrize(
    ("query", "offered", "accepted"),
    [
        ("", [PROTOBUF_NAME], PROTOBUF_NAME),
        ("", ["other", PROTOBUF_NAME], PROTOBUF_NAME),
        ("format=json", [PROTOBUF_NAME], PROTOBUF_NAME),
        ("format=protobuf", [], None),
        ("format=protobuf", ["other"], None),
        ("cf_protocol=protobuf", [], None),
        ("cf_protocol_version=v2&cf_protocol=protobuf", [], None),
        ("format=%70rotobuf", [], None),
        ("format=protobuf", [JSON_NAME, PROTOBUF_NAME], PROTOBUF_NAME),
        # A browser fails if none of the subprotocols that it offers is accepted.
        ("format=protobuf", [JSON_NAME], JSON_NAME),
    ],
)
def test_protobuf_is_asked_for_by_subprotocol_or_query(
    query: str, offered: list[str], accepted: str | None
) -> None:
    assert agree(query.encode(), offered) == (PROTOBUF, accepted)

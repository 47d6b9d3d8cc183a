"""The tables of every field in docs/protocol.md are what the code does."""

import re

from notifications.handlers.options import UNAVAILABLE
from notifications.protocol import commands, messages
from tests.handlers.test_options import PASSED_OVER, REFUSED, USED, fields_of, requests
from tests.sites import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()

#: Structs whose names differ from those of the messages.
STRUCTS = {"Error": messages.ErrorReply, "Connect": messages.ConnectResult}


#: Fields that structs have and that nothing sets, by name of the message.
NEVER_SET = {
    "SubscribeResult": {"data"},
    "Subscribe": {"data"},
}


def rows(heading: str) -> dict[str, list[list[str]]]:
    """Return a table: the names in each of its other columns, by the name in its first one."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0]
    found: dict[str, list[list[str]]] = {}
    for line in table.splitlines()[2:]:
        name, *others = (re.findall(r"`(\w+)`", cell) for cell in line.split("|")[1:-1])
        found[name[0]] = others
    return found


def test_each_field_of_a_request_is_used_refused_or_ignored_as_documented() -> None:
    table = rows("request")
    assert set(table) == set(USED)
    for name, (used, refused, ignored) in table.items():
        assert set(used) == USED[name], name
        assert set(refused) == set(REFUSED.get(name, ())), name
        assert set(ignored) == set(PASSED_OVER.get(name, ())), name
        assert sorted([*used, *refused, *ignored]) == sorted(fields_of(requests()[name])), name


def test_what_is_documented_as_refused_is_what_the_code_refuses() -> None:
    kinds = {kind.__name__: set(fields) for kind, fields in UNAVAILABLE.items()}
    table = rows("request")
    for name, kind in requests().items():
        assert set(table[name][1]) >= kinds.get(kind, set()) - set(table[name][0]), name
        assert hasattr(commands, kind)


def test_each_field_that_the_server_may_send_is_documented() -> None:
    table = rows("message")
    for name, (sent, never) in table.items():
        struct = STRUCTS.get(name) or getattr(messages, name)
        fields = fields_of(name)
        possible = set(struct.__struct_fields__) & fields
        assert set(sent) == possible - NEVER_SET.get(name, set()), name
        assert set(struct.__struct_fields__) <= fields, name
        assert sorted([*sent, *never]) == sorted(fields), name


def test_each_message_that_the_server_may_send_is_documented() -> None:
    structs = {
        name
        for name, value in vars(messages).items()
        if isinstance(value, type) and hasattr(value, "__struct_fields__") and name != "Struct"
    }
    assert set(rows("message")) == structs - {"ErrorReply"} | set(STRUCTS)


def test_nothing_sets_what_is_documented_as_never_sent() -> None:
    code = [path.read_text() for path in (ROOT / "notifications").rglob("*.py")]
    for name in ("SubscribeResult", "Subscribe"):
        calls = [call for text in code for call in re.findall(rf"\b{name}\(([^)]*)\)", text)]
        assert calls
        assert not any("data=" in call for call in calls), name

"""The server API answers bodies, paths, names and keys of every shape, and never with 500."""

import json
import os
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from notifications.api.keys import make_key
from notifications.api.server.methods import GRANTABLE, METHODS
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

NAMESPACES: dict[str, dict[str, Any]] = {
    "chat": {"durable": True, "presence": "authenticated"},
    "typing": {},
}

EXAMPLES = 5000 if os.environ.get("SOAK") == "1" else 150

fuzzed = hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: Statuses of an answer to a valid key.
STATUSES = {200, 400, 404, 413}

#: Codes that a caller may meet; 100 would be an error of ours.
CODES = {101, 102, 103, 104, 106, 107, 108, 112}

texts = st.text(max_size=20) | st.sampled_from(["\x00", "\ud800", "’" * 300, "*" * 300])
names = texts | st.builds(
    str.__add__,
    st.sampled_from(["user:", "group:", "topic:", "broadcast", "staff", "chat:", "typing:"]),
    texts,
)
numbers = st.integers() | st.sampled_from([-1, 0, 2**31, 2**63, 2**64, 10**400])
scalars = st.none() | st.booleans() | numbers | texts | names | st.floats(allow_nan=False)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)

data = st.fixed_dictionaries(
    {"title": st.just("x") | texts},
    optional=dict.fromkeys(
        ("body", "url", "kind", "level", "data", "key", "publish_at", "expires_at"), values
    ),
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "channel": names
        | st.sampled_from(["broadcast", "topic:news", "chat:7", "typing:7"])
        | values,
        "channels": st.lists(names, max_size=5) | values,
        "data": data | values,
        "b64data": texts | values,
        "idempotency_key": texts | values,
        "user": texts | st.just("1") | values,
        "client": texts | values,
        "whitelist": st.lists(texts, max_size=3) | values,
        "disconnect": st.fixed_dictionaries({"code": numbers, "reason": texts}) | values,
        "limit": numbers | values,
        "since": st.fixed_dictionaries({"offset": numbers, "epoch": texts}) | values,
        "pattern": texts | values,
        "expired": st.booleans() | values,
    },
)
methods = st.sampled_from(tuple(METHODS)) | texts


def encode(value: Any) -> bytes:
    """Lone surrogates become escapes, as some programs write them."""
    return json.dumps(value).encode()


@pytest.fixture
def secret(settings: Any) -> str:
    settings.NOTIFICATIONS = {"TOPICS": ["news"], "NAMESPACES": NAMESPACES}
    make_user()
    return make_key("fuzz", GRANTABLE, ["*"])[1]


def check(path: str, body: bytes, secret: str) -> None:
    # An exception of the view would be raised here.
    response = Client().post(
        path, body, content_type="application/json", headers={"X-API-Key": secret}
    )
    assert response.status_code in STATUSES
    assert response["Content-Type"] == "application/json"
    for line in response.content.splitlines():
        answer = json.loads(line)
        error = answer.get("error") or (answer if "code" in answer else None)
        assert error is None or error["code"] in CODES, answer
        for reply in answer.get("replies", ()):
            assert "error" not in reply or reply["error"]["code"] in CODES, reply


@fuzzed
@given(method=st.sampled_from(tuple(METHODS)), request=requests)
def test_a_request_of_any_shape_is_answered(secret: str, method: str, request: Any) -> None:
    check(f"/api/{method}", encode(request), secret)


@fuzzed
@given(commands=st.lists(st.dictionaries(methods, requests | values, max_size=2) | values))
def test_a_batch_of_any_shape_is_answered(secret: str, commands: Any) -> None:
    check("/api/batch", encode({"commands": commands}), secret)


@fuzzed
@given(
    lines=st.lists(
        st.fixed_dictionaries(
            {}, optional={"method": methods | numbers, "params": requests | values, "id": numbers}
        )
        | values,
        max_size=4,
    )
)
def test_old_commands_of_any_shape_are_answered(secret: str, lines: Any) -> None:
    check("/api", b"\n".join(encode(line) for line in lines), secret)


@fuzzed
@given(method=st.sampled_from(("", "/batch", *(f"/{name}" for name in METHODS))), body=st.binary())
def test_bytes_of_any_kind_are_answered(secret: str, method: str, body: bytes) -> None:
    check(f"/api{method}", body, secret)


@fuzzed
@given(key=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_a_key_of_any_shape_is_refused(key: str) -> None:
    for headers in ({"X-API-Key": key}, {"Authorization": f"apikey {key}"}):
        response = Client().post("/api/publish", b"{}", "application/json", headers=headers)
        assert response.status_code == 401

"""The setting TRANSPORTS: which paths are the app's, and what is reported of them."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path, re_path

from notifications import paths


def complaints(transports: Any = None) -> list[str]:
    """What the checks say of these transports."""
    with override_settings(NOTIFICATIONS={"TRANSPORTS": transports or {}}):
        return [
            f"{message.id}: {message.msg}" for message in run_checks() if "TRANS" in str(message)
        ]


def test_only_single_paths_are_taken_from_a_site_unless_it_asks_for_more() -> None:
    with override_settings(NOTIFICATIONS={}):
        assert set(paths.paths().values()) == {
            "/connection/websocket",
            "/connection/http_stream",
            "/connection/sse",
            "/emulation",
            "/connection/uni_websocket",
            "/connection/uni_sse",
            "/connection/uni_http_stream",
        }
        assert complaints() == []


def test_a_site_moves_one_path_switches_off_another_and_keeps_the_rest() -> None:
    with override_settings(
        NOTIFICATIONS={"TRANSPORTS": {"emulation": "/live/emulation/", "uni_sse": None}}
    ):
        changed = dict(paths.paths())
    with override_settings(NOTIFICATIONS={}):
        before = dict(paths.paths())
    assert changed.pop("emulation") == "/live/emulation/"
    assert before.pop("emulation") == "/emulation"
    assert before.pop("uni_sse")
    assert changed == before


def test_emulation_has_no_path_where_nothing_needs_it() -> None:
    with override_settings(NOTIFICATIONS={"TRANSPORTS": {"http_stream": None, "sse": None}}):
        assert "emulation" not in paths.paths()
    with override_settings(NOTIFICATIONS={"TRANSPORTS": {"http_stream": None}}):
        assert "emulation" in paths.paths()


@pytest.mark.parametrize(
    "transports",
    [
        {"websocket": "/ws/notifications/"},
        {"streams": "/streams"},
        {"streams": "/a-b/c.d/e_f/g~h/"},
        {"websocket": None},
        {"websocket": None, "http_stream": None},
        {"http_stream": None, "sse": None, "emulation": None},
        {name: None for name in paths.DEFAULTS if name != "websocket"},
        {"http_stream": "/connection/sse", "sse": "/connection/http_stream"},
    ],
)
def test_paths_that_fit_together_are_accepted(transports: dict[str, Any]) -> None:
    assert complaints(transports) == []


@pytest.mark.parametrize(
    ("transports", "problem"),
    [
        ({"web_socket": "/ws"}, "there is no transport 'web_socket'; there are websocket, "),
        ({7: "/ws"}, "there is no transport 7"),
        *(
            ({"sse": bad}, f"digits or -._~ between slashes; not {bad!r}.")
            for bad in (
                *("", "/", "live", "//live", "/live//sse", "/live//", "/../sse", "/live/."),
                *(
                    "/live/<int:pk>",
                    "/live?a=1",
                    "/live#a",
                    "/li ve",
                    "/live%2F",
                    "/l\u00efve",
                    "/a\n",
                ),
                *("https://example.com/live", True, 7, ["/live"]),
            )
        ),
        ({"sse": "/emulation"}, "'sse' and 'emulation' have the same path, '/emulation'"),
        ({"websocket": "/a", "uni_sse": "/a"}, "'websocket' and 'uni_sse' have the same path"),
        ({"streams": "/connection"}, "'websocket' has a path below that of 'streams'"),
        ({"streams": "/live/", "sse": "/live/sse"}, "'sse' has a path below that of 'streams'"),
        ({"emulation": None}, "'http_stream' and 'sse' cannot work without 'emulation'"),
        ({"emulation": None, "sse": None}, "'http_stream' cannot work without 'emulation'"),
        (
            {"websocket": None, "http_stream": None, "sse": None},
            "one of websocket, http_stream, sse must be on",
        ),
    ],
)
def test_what_cannot_work_is_reported(transports: Any, problem: str) -> None:
    found = complaints(transports)
    assert found
    for each in found:
        assert each.startswith("notifications.E015: NOTIFICATIONS['TRANSPORTS']: ")
    assert any(problem in each for each in found), found


@pytest.mark.parametrize("value", [None, [], "/live", {"/live": 1}.keys()])
def test_a_value_that_is_no_dict_is_reported_and_changes_nothing(value: Any) -> None:
    with override_settings(NOTIFICATIONS={}):
        defaults = paths.paths()
    with override_settings(NOTIFICATIONS={"TRANSPORTS": value}):
        ids = [message.id for message in run_checks() if "TRANSPORTS" in str(message)]
        assert ids == ["notifications.E003"]
        assert paths.paths() == defaults


@pytest.mark.parametrize("prefix", ["/portal", "/portal/"])
def test_a_path_with_the_prefix_of_the_site_is_reported(prefix: str) -> None:
    """It would be found below the prefix twice, and not at all behind a proxy that removes it."""
    with override_settings(FORCE_SCRIPT_NAME=prefix):
        (complaint,) = complaints({"websocket": "/portal/ws"})
        assert "'websocket' must not begin with the prefix of the site, '/portal'" in complaint
        assert len(complaints({"websocket": "/portal"})) == 1
        assert complaints({"websocket": "/portals/ws"}) == []


def page(*args: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse("a page of the site")


def site(*patterns: Any) -> Any:
    """A module of URLs."""
    return override_settings(ROOT_URLCONF=tuple(patterns))


@pytest.mark.parametrize(
    "pattern",
    [
        path("emulation", page),
        re_path(r"^emulation$", page),
        re_path(r"^emulation\Z", page),
        path("emul", include([path("ation", page)])),
    ],
    ids=str,
)
def test_a_page_that_a_transport_hides_is_reported(pattern: Any) -> None:
    with site(pattern):
        assert complaints() == [
            "notifications.W014: The page at '/emulation' cannot be reached: "
            "NOTIFICATIONS['TRANSPORTS'] has 'emulation' at '/emulation'."
        ]
        assert complaints({"emulation": "/live/emulation"}) == []


def test_pages_below_the_path_of_streams_are_reported_once_streams_are_on() -> None:
    pages = include([path("", page), path("<int:pk>/", page), re_path(r"^old/$", page)])
    with site(path("streams/", pages), path("streamside/", page)):
        assert complaints() == []
        assert [text.split("'")[1] for text in complaints({"streams": "/streams/"})] == [
            "/streams/<int:pk>/",
            "/streams/old/",
        ]


def test_pages_that_are_beside_a_transport_or_match_anything_are_not_reported() -> None:
    with site(
        path("emulation/", page),
        path("emulations", page),
        path("connection/websocket", page),  # no page has a websocket's scope
        path("<path:slug>", page),
        re_path(r"^.*$", page),
    ):
        assert complaints({"streams": "/streams/"}) == []

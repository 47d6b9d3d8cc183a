"""Every code of errors, unsubscribes and disconnects is provoked by a test, listed here."""

import ast
import re
from pathlib import Path

import pytest

from notifications.protocol import codes
from notifications.protocol.codes import Disconnect, Error, Unsubscribe

TESTS = Path(__file__).parent.parent

#: A test that provokes the code, by code: its file and its name.
PROVOKED = {
    100: "test_consumers.py::test_a_command_that_fails_in_the_database_gets_a_temporary_error",
    101: "test_consumers.py::test_an_anonymous_client_is_refused_and_leaves_nothing_behind",
    102: "handlers/test_channels.py::test_a_channel_of_no_namespace_is_unknown",
    103: "handlers/test_channels.py::test_subscribing_needs_the_right_of_the_namespace",
    104: "handlers/test_commands.py::test_unknown_commands_and_procedures",
    105: "handlers/test_channels.py::test_a_second_subscription_is_refused",
    106: "handlers/test_channels.py::test_the_number_of_channels_of_a_connection_is_limited",
    107: "handlers/test_channels.py::test_data_that_must_not_be_published_is_a_bad_request",
    108: "handlers/test_channels.py::test_an_ephemeral_channel_has_no_history_and_no_recovery",
    109: "handlers/test_subscription_tokens.py::test_an_expired_token_is_told",
    111: "handlers/test_channels.py::"
    "test_ephemeral_publications_count_against_the_rate_of_commands",
    112: "handlers/test_commands.py::test_history_since_an_unknown_position_is_unrecoverable",
    1000: "test_consumers.py::test_bad_frames_close_only_their_own_connection",
    1009: "integration/test_bad_input.py::test_a_frame_that_is_too_large_closes_the_connection",
    2000: "handlers/test_channels.py::test_p6_a_lost_right_ends_a_subscription",
    2500: "handlers/test_channels.py::"
    "test_readers_of_a_channel_whose_row_was_pruned_subscribe_again",
    2501: "handlers/test_subscription_tokens.py::"
    "test_p6_an_expired_subscription_ends_and_a_new_token_resumes_it",
    3001: "hub/test_hub.py::test_shutdown_closes_sockets_and_writes_pending_rows",
    3004: "test_consumers.py::test_a_bug_ends_one_connection_and_leaves_nothing_behind",
    3005: "handlers/test_commands.py::test_an_expired_connection_is_closed",
    3008: "hub/delivery/test_stream.py::test_a_reader_blocked_for_too_long_is_closed_as_slow",
    3010: "handlers/test_channels.py::test_p8_a_reset_channel_ends_the_connection",
    3011: "hub/test_rights.py::test_a_logout_closes_only_the_connections_of_its_session",
    3012: "integration/test_absence.py::test_a_pong_acknowledges_delivery",
    3013: "test_consumers.py::test_thousands_of_commands_at_once_end_only_their_connection",
    3500: "test_consumers.py::test_forged_tokens_and_tokens_without_a_user_are_refused_permanently",
    3501: "test_consumers.py::test_a_second_connect_ends_the_connection",
    3502: "integration/test_bad_input.py::test_a_silent_socket_is_closed",
    3503: "handlers/test_channels.py::test_p6_deactivation_ends_it_all",
    3504: "test_consumers.py::test_connections_of_one_user_are_limited",
    3506: "test_consumers.py::test_a_frame_of_the_other_form_closes_with_inappropriate_protocol",
    3507: "transports/test_one_way.py::test_who_is_not_logged_in_gets_401",
}

KINDS = (Error, Unsubscribe, Disconnect)

NAMES = {value.code: name for name, value in vars(codes).items() if isinstance(value, KINDS)}


def test_every_code_is_listed() -> None:
    assert sorted(PROVOKED) == sorted(NAMES)


@pytest.mark.parametrize("code", PROVOKED)
def test_the_listed_test_exists_and_is_about_the_code(code: int) -> None:
    path, name = PROVOKED[code].split("::")
    text = (TESTS / path).read_text()
    found = [
        ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    assert found, PROVOKED[code]
    assert re.search(rf"\b({code}|{NAMES[code]})\b", found[0])


def test_only_an_unsubscribe_from_2500_lets_the_client_subscribe_again() -> None:
    """SDKs decide by the code."""
    assert not codes.UNSUBSCRIBED_BY_SERVER.resubscribe
    assert codes.SUBSCRIPTION_LOST.resubscribe
    assert codes.SUBSCRIPTION_EXPIRED.resubscribe

"""Creates the guests of ``doors.py``, and prints their sessions and the key as JSON.

Run it with ``manage.py shell``, on the database of the server.
"""

import json
import sys

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore

from notifications.api.keys import make_key
from notifications.api.server.methods import METHODS

#: The user in the tokens of the Python SDK's suite.
NAMED = 42

GUESTS = 40


def make_session(user_id: int) -> str:
    """Create a user who is logged in, and return the session key."""
    user = get_user_model()._default_manager.create(pk=user_id, username=f"guest{user_id}")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def make_guests() -> None:
    """Create the guests and the key, and print the variables that ``doors.py`` reads."""
    sessions = [make_session(NAMED + number) for number in range(GUESTS)]
    _, key = make_key("suites", list(METHODS), ["*"])
    made = {"GUEST_SESSIONS": " ".join(sessions), "GUEST_KEY": key}
    sys.stdout.write(f"{json.dumps(made)}\n")

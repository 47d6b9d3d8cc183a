"""Settings of the simulated site: one database in memory, and one faulty channel layer."""

from tests.settings import *  # noqa: F403

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
CHANNEL_LAYERS = {"default": {"BACKEND": "tests.simulation.layer.FaultyLayer"}}
NOTIFICATIONS = {
    "TOKEN_SECRET": "a secret of the simulation that is long enough",
    "TOPIC_PERMISSION": "tests.simulation.people.may_read_topic",
    # Shorter than the defaults, so that more happens in a minute.
    "PING_INTERVAL": 8.0,
    "PONG_TIMEOUT": 4.0,
    "SLOW_TIMEOUT": 10.0,
    "CONNECT_TIMEOUT": 5.0,
    "CHECK_INTERVAL": 5.0,
    "RIGHTS_INTERVAL": 10.0,
    "WORKER_TIMEOUT": 12.0,
    "DRAIN_SECONDS": 1.0,
    "LOCK_TIMEOUT": 2.0,
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"
LOGGING = {"version": 1, "disable_existing_loggers": True}

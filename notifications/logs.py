"""Logging of helpers that are away: once, and in a line."""

import logging
import time


class Seldom(logging.Filter):
    """Lets a record pass once a minute, without its traceback.

    For ``channels_redis.pubsub``, which logs a traceback every second while Redis is away, for
    each process::

        "filters": {"seldom": {"()": "notifications.logs.Seldom"}},
        "loggers": {"channels_redis.pubsub": {"filters": ["seldom"]}},
    """

    def __init__(self, seconds: float = 60.0) -> None:
        super().__init__()
        self._seconds = seconds
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.getMessage()} ({type(record.exc_info[1]).__name__})"
            record.args = ()
        record.exc_info = record.exc_text = None
        return True

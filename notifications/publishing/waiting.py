"""What the tickers of workers do: publish what is due, and what dead processes have left."""

from . import mailings
from .sequencing import sequence_waiting


def publish_waiting() -> None:
    """Write what is left of large calls, then sequence what waits for its offset.

    Raises:
        OperationalError, InterfaceError: the database is down.
    """
    try:
        mailings.write_left()
    finally:
        sequence_waiting()

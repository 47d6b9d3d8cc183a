"""The visitors of the tests in this folder."""

from tests.visitors import browser, reader, sender, writer

__all__ = ["browser", "reader", "sender", "writer"]

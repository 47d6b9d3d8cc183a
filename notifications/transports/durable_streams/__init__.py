"""Durable Streams: reading a stream over plain HTTP, with offsets that the client keeps.

:mod:`.application` answers requests, :mod:`.reading` reads pages, :mod:`.live` waits for more.

Source: ``PROTOCOL.md`` of https://github.com/durable-streams/durable-streams, the read path.
"""

"""Durable Streams: reading a stream over plain HTTP, with offsets that the client keeps.

:mod:`.application` answers requests, :mod:`.catch_up` sends pages, :mod:`.waiting` waits for more.

Source: the read path of
https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md.
"""

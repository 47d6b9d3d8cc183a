"""Splits the bytes of one read, so that no client holds the event loop for all of them.

A read returns up to 256 KB: that may be one message, 40 000 frames or 14 000 requests.
"""

#: Bytes that are parsed at a time.
PIECE_SIZE = 512


def next_piece(held: bytearray) -> bytes:
    """Remove and return the first ``PIECE_SIZE`` bytes, in a time independent of the length."""
    piece = bytes(held[:PIECE_SIZE])
    del held[:PIECE_SIZE]
    return piece

"""What a socket has brought in one read, taken apart so that one client is not a turn of the loop.

A read brings up to 256 KB. That may be one message, or 40 000 frames, or 14 000 requests.
"""

#: Bytes that are parsed at once.
PIECE = 512


def next_piece(held: bytearray) -> bytes:
    """Take the first bytes away, in a time that does not depend on how many there are."""
    piece = bytes(held[:PIECE])
    del held[:PIECE]
    return piece

"""Ids of clients, from a block of the system's randomness that serves many of them.

Reading it gives other threads a turn (it releases the interpreter's lock). While database threads
are busy, the event loop would have to wait for its next one at each connect.
"""

import os
from collections import deque

#: Ids that one block is enough for.
BLOCK_SIZE = 256

_prepared: deque[str] = deque()


def new_client_id() -> str:
    """Return a random UUID (RFC 9562 section 5.4) as text. It cannot be guessed."""
    try:
        digits = _prepared.popleft()
    except IndexError:
        block = os.urandom(16 * BLOCK_SIZE).hex()
        digits, *others = (block[at : at + 32] for at in range(0, len(block), 32))
        _prepared.extend(others)
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


if hasattr(os, "register_at_fork"):
    # A child would use the same ids as its parent.
    os.register_at_fork(after_in_child=_prepared.clear)

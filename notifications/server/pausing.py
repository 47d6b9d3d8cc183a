"""Starting and stopping to read from a socket."""

import asyncio


def set_reading(transport: asyncio.Transport, is_reading: bool, may_read: bool) -> bool:
    """Resume or pause reading where ``may_read`` has changed; leave a closing transport alone.

    Args:
        transport: of the socket.
        is_reading: whether it is read from now, as this function returned it last.
        may_read: whether it should be.

    Returns:
        Whether it is read from now.
    """
    if may_read is is_reading or transport.is_closing():
        return is_reading
    if may_read:
        transport.resume_reading()
    else:
        transport.pause_reading()
    return may_read

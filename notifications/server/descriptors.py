"""Sends frames to the descriptors of sockets, past their transports."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from array import array
from functools import cache
from itertools import repeat
from typing import Any

from .kernel_queue import KernelQueue, open_queue

#: What a transport has for a descriptor that must not be written to.
NONE = -1

#: Sends without a look at whether another thread wants the interpreter.
RUN = 200

#: Sockets up to which one call for each of them takes no longer than one call for all.
FEW = 4

_DONT_WAIT: int = getattr(socket, "MSG_DONTWAIT", 0)

# POSIX send(2). Unlike os.write(), this keeps the interpreter's lock. To give it up at each of
# thousands of writes would mean to wait each time for whatever thread takes it. (Measured with one
# busy thread: 2000 writes took 2 s instead of 0.07 s.) Without ``argtypes`` a call is faster.
_send: Any = ctypes.PyDLL(None).send if os.name == "posix" and _DONT_WAIT else None


def descriptor_of(transport: asyncio.Transport) -> int:
    """Return the descriptor of a transport, or :data:`NONE` if it does not send bytes unchanged.

    TLS transports encrypt what they send.
    """
    if _send is None or transport.get_extra_info("sslcontext") is not None:
        return NONE
    found = transport.get_extra_info("socket")
    if found is None or found.type != socket.SOCK_STREAM or os.get_blocking(found.fileno()):
        return NONE
    return int(found.fileno())


def send_to_all(descriptors: array[int], data: bytes) -> list[int]:
    """Send the same bytes to each of these sockets, without waiting and without raising.

    Args:
        descriptors: of :func:`descriptor_of`.
        data: what to send.

    Returns:
        For each socket, how many bytes the kernel has taken; a negative number for an error, such
        as a full buffer. The reason is left for the transport to find.
    """
    taken: list[int] = []
    queue = _queue(os.getpid()) if len(descriptors) > FEW else None
    for start in range(0, len(descriptors), RUN):
        some = descriptors[start : start + RUN]
        sent = [] if queue is None else queue.send(some, data)
        taken += sent
        if len(sent) < len(some):
            taken += _send_each(some[len(sent) :], data)
    return taken


def _send_each(descriptors: array[int], data: bytes) -> list[int]:
    size = ctypes.c_size_t(len(data))
    return list(map(_send, descriptors, repeat(data), repeat(size), repeat(_DONT_WAIT)))


@cache
def _queue(process: int) -> KernelQueue | None:
    """The queue of this process: a forked child has none of its parent's."""
    return open_queue(RUN)

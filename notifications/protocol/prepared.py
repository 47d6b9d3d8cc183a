"""Messages for many sockets, encoded once and framed once (RFC 6455 section 5.2)."""

# The final fragment of a text or binary message.
OPCODE_TEXT = 0x81
OPCODE_BINARY = 0x82


class Prepared:
    """One message for any number of sockets: its payload, and the frame on the wire.

    Args:
        payload: text, or the bytes of a binary message.
    """

    __slots__ = ("frame", "payload")

    def __init__(self, payload: str | bytes) -> None:
        self.payload = payload
        if isinstance(payload, str):
            self.frame = frame_message(OPCODE_TEXT, payload.encode())
        else:
            self.frame = frame_message(OPCODE_BINARY, payload)


def frame_message(opcode: int, payload: bytes) -> bytes:
    """Frame a message as a server does: in one fragment, unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((opcode, size)) + payload
    if size < 65_536:
        return bytes((opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((opcode, 127)) + size.to_bytes(8, "big") + payload

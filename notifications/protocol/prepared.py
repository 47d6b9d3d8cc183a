"""Messages for many sockets, encoded once and framed once (RFC 6455 section 5.2)."""

OPCODE_TEXT = 0x81  # the final fragment of a text message


class Prepared:
    """One text message for any number of sockets, as text and as the frame on the wire."""

    __slots__ = ("frame", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.frame = frame_text(text)


def frame_text(text: str) -> bytes:
    """Frame a text message as a server does: in one fragment, unmasked."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((OPCODE_TEXT, size)) + payload
    if size < 65_536:
        return bytes((OPCODE_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((OPCODE_TEXT, 127)) + size.to_bytes(8, "big") + payload

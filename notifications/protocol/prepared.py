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


class PreparedText(Prepared):
    """A text that was encoded as UTF-8. Servers that want it as a str have it decoded once.

    Args:
        text: the text in UTF-8.
    """

    __slots__ = ("_decoded", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._decoded: str | None = None
        self.frame = frame_message(OPCODE_TEXT, text)

    @property
    def payload(self) -> str:  # type: ignore[override]
        if self._decoded is None:
            self._decoded = self._text.decode()
        return self._decoded


def frame_message(opcode: int, payload: bytes) -> bytes:
    """Frame a message as a server does: in one fragment, unmasked."""
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (opcode, size, payload)
    if size < 65_536:
        return b"%c\x7e%c%c%b" % (opcode, size >> 8, size & 0xFF, payload)
    return b"%c\x7f%b%b" % (opcode, size.to_bytes(8, "big"), payload)

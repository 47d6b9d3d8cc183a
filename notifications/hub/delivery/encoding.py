"""The push of a publication, encoded for the readers of its stream."""

from __future__ import annotations

from ...protocol import messages
from ...protocol.codec import Codec, Encodings
from ...protocol.prepared import Prepared
from ...streams.encoding import Publication


def encodings(name: str, publication: Publication) -> Encodings:
    """The push of a publication in each form."""
    return Encodings(lambda codec: encode(codec, name, publication))


def encode(codec: Codec, name: str, publication: Publication) -> Prepared:
    """Encode the push of a publication in one form."""
    if publication.details is None:
        return codec.encode_publication(name, publication.offset, publication.data)
    push = messages.Push(channel=name, pub=publication.message())
    return codec.encode(messages.Reply(push=push))

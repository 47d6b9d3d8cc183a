"""The Centrifuge client protocol, version 2: bytes ↔ messages, nothing else.

Source: https://centrifugal.dev/docs/transports/client_protocol and the protocol's ``client.proto``.
"""

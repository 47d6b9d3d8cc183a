"""The Centrifuge client protocol, version 2: codes, messages and sessions, without I/O.

Source: https://centrifugal.dev/docs/transports/client_protocol and the protocol's ``client.proto``.
"""

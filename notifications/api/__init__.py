"""The HTTP API for other backends, and the keys that it asks for."""

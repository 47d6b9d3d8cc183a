"""The same session over HTTP: for networks that break websockets, and for clients that listen."""

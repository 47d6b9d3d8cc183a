"""Streams: their names, history and positions, and what may be resumed from where."""

"""Calls of the host's code, in threads of their own because it may fail or hang."""

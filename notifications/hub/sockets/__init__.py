"""Sockets and connections: writing, limits per address, deadlines and draining."""

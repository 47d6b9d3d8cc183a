"""Faults of every kind, and a herd of clients with its own record of what arrived."""

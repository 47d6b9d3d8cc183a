"""Deterministic simulation of the whole system; see :mod:`tests.simulation.run`."""

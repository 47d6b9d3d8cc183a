"""The tables behind :mod:`notifications.models`, where all other code imports them from."""

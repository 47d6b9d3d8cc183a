"""A small host project, whose own tests use ``notifications.testing``."""

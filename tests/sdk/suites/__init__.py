"""The SDKs' own test suites, run against this server; see docs/clients.md.

``settings.py`` and ``doors.py`` are the server as the suites expect it. ``running.py`` starts it
and runs a suite. ``<suite>.toml`` lists the tests that are not meant to pass, with reasons.
"""

"""Benchmarks of pushsite beside other push servers: ``make bench``. See docs/benchmarks.md."""

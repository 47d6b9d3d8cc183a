"""Benchmarks of the site and of other push servers: `make bench`. See docs/benchmarks.md."""

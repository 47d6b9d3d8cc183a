"""How fast, beside what: `make bench`. See docs/benchmarks.md."""

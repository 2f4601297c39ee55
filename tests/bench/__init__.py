"""Benchmarks. Each prints a ratio against a baseline run beside it and writes `bench-results/<name>.json`."""
